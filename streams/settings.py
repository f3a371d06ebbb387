"""Settings: from `NPS_…` environment variables to checked values. Nothing else reads the environment.

`Settings.from_environment()` raises `SettingsError` with one line per problem; each begins with the variable's name and
none repeats a secret. An unknown `NPS_…` name is a problem too: a typing error must not silently leave a default.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.fields import SEGMENT_NAME
from schemas.playbook import Playbook, PlaybookError, default_playbook, parse_playbook
from streams.crm_settings import CrmSettings
from streams.rules.transitions import CONFIGURABLE_CHANGES
from streams.rules.windows import Window, parse_windows
from streams.sasl import sasl_inconsistencies
from streams.setting_fields import ENV_PREFIX, File, SettingsError, check_token
from streams.setting_fields import nearest as _nearest
from streams.setting_fields import problems_of as _problems
from streams.setting_fields import setting as _setting
from streams.setting_fields import split as _split

DEFAULT_RETENTION_DAYS = 400
MAX_SEGMENT_CROSSES = 32
MAX_NAMES_IN_CROSS = 8  # a response has no more segments
LONGEST_TOPIC_SUFFIX = "internal.segment-counts"
MAX_TOPIC_NAME_CHARS = 249
INTO_PASSIVE = frozenset({"detractor_to_passive", "promoter_to_passive", "passive_to_passive"})

_SEGMENT_NAME = re.compile(SEGMENT_NAME)
_BOOTSTRAP_SERVER = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")


class _WorkerSettings(BaseSettings):
    """What a worker and every command is told; `Settings` below adds the rest."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        extra="forbid",
        frozen=True,
        enable_decoding=False,  # lists are comma-separated text, not JSON
        validate_default=True,  # the defaults of lists are text too
    )

    bootstrap_servers: str = _setting("127.0.0.1:9092", "Kafka brokers to ask first, `host:port`, comma-separated")
    group_id: str = _setting(
        "nps", "Consumer group of the workers; also begins their transactional ids", min_length=1, max_length=200
    )
    topic_prefix: str = _setting("nps.", "What every topic's name begins with")
    partitions: int = _setting(
        12, "Partitions of topics that are created while `nps.responses` does not exist", "partitions", ge=1, le=10_000
    )
    replication_factor: int = _setting(1, "Replicas of topics that are created", "replicas", ge=1, le=32_767)
    create_topics: bool = _setting(True, "Whether a worker creates topics that are missing")
    state_dir: Path = _setting(Path(".nps/state"), "Directory of the local state; deleting it loses nothing")
    http_host: str = _setting("127.0.0.1", "Address that HTTP endpoints listen on", min_length=1)
    http_port: int = _setting(6066, "Port of the HTTP endpoints; 0 picks a free one", ge=0, le=65_535)
    http_token: SecretStr | None = _setting(
        None, "Bearer token that `/v1` asks for; not asked for when not set; never shown"
    )
    commit_interval_ms: int = _setting(
        100,
        "Time between the commits of a partition (half of it while not busy); less is sooner visible but more work",
        "ms",
        ge=10,
        le=60_000,
    )
    counts_retention_days: int = _setting(
        DEFAULT_RETENTION_DAYS, "How long counts are kept; no window can be longer", "days", ge=1, le=3_660
    )
    windows: tuple[Window, ...] = _setting(
        "1d,7d,30d,90d", "Rolling windows of the scores, `<n>h` or `<n>d`, comma-separated"
    )
    segment_crosses: tuple[tuple[str, ...], ...] = _setting(
        "", "Segments counted in combination, as `country+industry,country+plan`"
    )
    segment_limit: int = _setting(
        10_000,
        "Most segments of a survey and partition; further values count as `__other__`",
        "segments",
        ge=1,
        le=1_000_000,
    )
    passive_cooldown_days: int = _setting(
        30, "How long after a detection a customer who stays passive is not reported again", "days", ge=0, le=3_660
    )
    event_max_age_days: int = _setting(
        30, "Oldest response, at its record time, that still causes an event", "days", ge=0, le=3_660
    )
    score_changed_transitions: frozenset[str] = _setting(
        "passive_to_promoter", "Changes of category that are published as `score-changed`, comma-separated"
    )
    follow_up_sla_hours: int = _setting(
        72,
        "How long after a case opens the customer is to be contacted, else it is overdue; 0: no limit",
        "h",
        ge=0,
        le=87_600,
    )
    playbook_file: File | None = _setting(
        None, "What to do about passive customers and what to ask them (TOML, as `nps playbook --toml` prints)"
    )
    scores_interval_s: float = _setting(
        10.0, "Time between publications of changed score rows", "s", ge=0.1, le=86_400, allow_inf_nan=False
    )
    event_source: str = _setting("/nps", "`ce_source` of every event, a URI reference")
    compression_type: Literal["none", "gzip", "snappy", "lz4", "zstd"] = _setting(
        "none", "How events and dead letters are compressed; the clients of all who read them must know it"
    )
    session_timeout_ms: int = _setting(
        10_000, "How long a worker may be silent before its partitions go to others", "ms", ge=1_000, le=1_800_000
    )
    static_membership: bool = _setting(
        False, "Whether a worker that stops keeps its partitions for the session timeout, to come back to its state"
    )
    transaction_timeout_ms: int = _setting(
        30_000, "How long a transaction may stay open before the broker aborts it", "ms", ge=1_000, le=900_000
    )
    broker_wait_s: float = _setting(
        60.0, "How long a starting worker retries an unreachable broker", "s", ge=0, le=86_400, allow_inf_nan=False
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", "Least severe log lines that are written"
    )
    log_format: Literal["text", "json"] = _setting("text", "Log lines for people, or each a JSON object")

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = _setting(
        "PLAINTEXT", "How to talk to Kafka"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI"] = _setting(
        "SCRAM-SHA-512", "How to authenticate, with a SASL protocol"
    )
    sasl_username: str | None = _setting(None, "User name, with a SASL protocol")
    sasl_password: SecretStr | None = _setting(None, "Password, with a SASL protocol; never shown")
    sasl_kerberos_service_name: str = _setting(
        "kafka", "What the brokers' Kerberos principals begin with, with `GSSAPI`", min_length=1
    )
    sasl_kerberos_domain_name: str | None = _setting(
        None, "Host in the brokers' Kerberos principals, with `GSSAPI`; the name each is reached by when not set"
    )
    ssl_ca_file: File | None = _setting(
        None, "Certificates of the authorities that sign the brokers' (PEM); the system's when not set"
    )
    ssl_cert_file: File | None = _setting(None, "Client certificate (PEM), where the broker asks for one")
    ssl_key_file: File | None = _setting(None, "Key of the client certificate (PEM)")
    ssl_key_password: SecretStr | None = _setting(None, "Password of the key file; never shown")
    ssl_check_hostname: bool = _setting(True, "Whether a broker's certificate must name its host")

    @classmethod
    def from_environment(cls) -> Self:
        """Read the environment.

        Raises:
            SettingsError: with every problem found, not only the first.
        """
        problems = [_unknown(name) for name in sorted(os.environ) if name.startswith(ENV_PREFIX) and not _known(name)]
        try:
            settings = cls()
        except ValidationError as error:
            raise SettingsError(problems + [line for each in error.errors() for line in _problems(each)]) from None
        if problems:
            raise SettingsError(problems)
        return settings

    @field_validator("bootstrap_servers")
    @classmethod
    def _check_bootstrap_servers(cls, text: str) -> str:
        servers = _split(text)
        if not servers:
            raise ValueError("must name at least one broker as host:port")
        for server in servers:
            match = _BOOTSTRAP_SERVER.fullmatch(server)
            if match is None or not 1 <= int(match["port"]) <= 65_535:
                raise ValueError(f"must be host:port, comma-separated; {server!r} is not")
        return ",".join(servers)

    @field_validator("group_id", "event_source", "http_host")
    @classmethod
    def _check_printable(cls, text: str) -> str:
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("must be printable ASCII characters without spaces")
        return text

    @field_validator("state_dir", mode="before")
    @classmethod
    def _check_state_dir(cls, value: object) -> object:
        if value == "":
            raise ValueError("must not be empty")
        return value

    @field_validator(
        *(
            "http_token",
            "playbook_file",
            "sasl_username",
            "sasl_password",
            "sasl_kerberos_domain_name",
            "ssl_ca_file",
            "ssl_cert_file",
            "ssl_key_file",
            "ssl_key_password",
        ),
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value  # compose files and manifests pass optional variables on empty

    @field_validator("http_token")
    @classmethod
    def _check_http_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None:
            check_token(token.get_secret_value())
        return token

    @field_validator("topic_prefix")
    @classmethod
    def _check_topic_prefix(cls, text: str) -> str:
        if re.fullmatch(r"[A-Za-z0-9._-]*", text) is None:
            raise ValueError("may hold only the characters of topic names: letters, digits, '.', '_' and '-'")
        if len(text) + len(LONGEST_TOPIC_SUFFIX) > MAX_TOPIC_NAME_CHARS:
            raise ValueError(f"must be at most {MAX_TOPIC_NAME_CHARS - len(LONGEST_TOPIC_SUFFIX)} characters")
        return text

    @field_validator("windows", mode="before")
    @classmethod
    def _parse_windows(cls, value: object, info: ValidationInfo) -> object:
        # When the retention itself is wrong that is the problem to report, so the windows are held to its default.
        retention_days = info.data.get("counts_retention_days", DEFAULT_RETENTION_DAYS)
        return tuple(parse_windows(value, retention_days)) if isinstance(value, str) else value

    @field_validator("segment_crosses", mode="before")
    @classmethod
    def _parse_segment_crosses(cls, value: object) -> object:
        return tuple(tuple(cross.split("+")) for cross in _split(value)) if isinstance(value, str) else value

    @field_validator("segment_crosses")
    @classmethod
    def _check_segment_crosses(cls, crosses: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        if len(crosses) > MAX_SEGMENT_CROSSES:
            raise ValueError(f"must be at most {MAX_SEGMENT_CROSSES} combinations")
        seen: set[frozenset[str]] = set()
        for cross in crosses:
            text = "+".join(cross)
            for name in cross:
                if _SEGMENT_NAME.fullmatch(name) is None:
                    raise ValueError(
                        f"{text!r} holds {name!r}, which is no segment name ([a-z][a-z0-9_]{{0,31}}, not 'all')"
                    )
            if not 2 <= len(set(cross)) == len(cross) <= MAX_NAMES_IN_CROSS:
                raise ValueError(f"{text!r} must join 2 to {MAX_NAMES_IN_CROSS} different segment names")
            if frozenset(cross) in seen:
                raise ValueError(f"{text!r} is there twice (the order of names makes no difference)")
            seen.add(frozenset(cross))
        return crosses

    @field_validator("score_changed_transitions", mode="before")
    @classmethod
    def _parse_transitions(cls, value: object) -> object:
        return frozenset(_split(value)) if isinstance(value, str) else value

    @field_validator("score_changed_transitions")
    @classmethod
    def _check_transitions(cls, transitions: frozenset[str]) -> frozenset[str]:
        for transition in sorted(transitions.difference(CONFIGURABLE_CHANGES)):
            if transition in INTO_PASSIVE:
                raise ValueError(
                    f"{transition!r} goes into passive, which is always published as passive-detected; leave it out"
                )
            raise ValueError(f"{transition!r} is unknown{_nearest(transition, CONFIGURABLE_CHANGES)}")
        return transitions

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        problems = tuple(self._inconsistencies())
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _inconsistencies(self) -> Iterable[str]:
        """Values that are fine alone but not together; each line names the variable to change."""
        if self.session_timeout_ms <= self.commit_interval_ms:
            yield "NPS_SESSION_TIMEOUT_MS: must be longer than NPS_COMMIT_INTERVAL_MS"
        if self.transaction_timeout_ms <= self.commit_interval_ms:
            yield "NPS_TRANSACTION_TIMEOUT_MS: must be longer than NPS_COMMIT_INTERVAL_MS"
        elif self.transaction_timeout_ms < self.session_timeout_ms:
            yield (
                "NPS_TRANSACTION_TIMEOUT_MS: must be at least NPS_SESSION_TIMEOUT_MS,"
                " or a pause that the group forgives would still abort a transaction"
            )
        try:
            self.playbook()
        except PlaybookError as error:
            yield from (f"NPS_PLAYBOOK_FILE: {problem}" for problem in error.problems)
        except (OSError, UnicodeDecodeError) as error:
            yield f"NPS_PLAYBOOK_FILE: cannot be read as UTF-8 text ({type(error).__name__})"
        yield from sasl_inconsistencies(
            self.security_protocol,
            self.sasl_mechanism,
            {"SASL_USERNAME": self.sasl_username, "SASL_PASSWORD": self.sasl_password},
            self.sasl_kerberos_domain_name,
        )
        if not self.security_protocol.endswith("SSL"):
            for name in ("ssl_ca_file", "ssl_cert_file", "ssl_key_file", "ssl_key_password"):
                if getattr(self, name) is not None:
                    yield f"NPS_{name.upper()}: has no effect with NPS_SECURITY_PROTOCOL={self.security_protocol}"
        elif (self.ssl_key_file or self.ssl_key_password) and not self.ssl_cert_file:
            yield "NPS_SSL_CERT_FILE: must be set with NPS_SSL_KEY_FILE or NPS_SSL_KEY_PASSWORD"

    def playbook(self) -> Playbook:
        """Return the playbook to go by. Raises PlaybookError or OSError, which is found out at validation."""
        if self.playbook_file is None:
            return default_playbook()
        return parse_playbook(self.playbook_file.read_text(encoding="utf-8"))

    def kafka(self) -> dict[str, Any]:
        """Keyword arguments that every aiokafka client takes: where the brokers are and how to talk to them.

        Raises:
            SettingsError: a certificate or key cannot be read.
        """
        arguments: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": self.security_protocol,
        }
        if self.security_protocol.endswith("SSL"):
            arguments["ssl_context"] = self._ssl_context()
        if self.security_protocol.startswith("SASL_"):
            arguments["sasl_mechanism"] = self.sasl_mechanism
            if self.sasl_mechanism == "GSSAPI":
                return arguments | {
                    "sasl_kerberos_service_name": self.sasl_kerberos_service_name,
                    "sasl_kerberos_domain_name": self.sasl_kerberos_domain_name,
                }
            assert self.sasl_password is not None, "checked at validation"
            arguments |= {
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password.get_secret_value(),
            }
        return arguments

    def _ssl_context(self) -> ssl.SSLContext:
        variable = "NPS_SSL_CA_FILE"
        try:
            context = ssl.create_default_context(cafile=self.ssl_ca_file)
            context.check_hostname = self.ssl_check_hostname
            if self.ssl_cert_file:
                variable = "NPS_SSL_CERT_FILE"
                # Without a password OpenSSL would ask for one on the terminal and a worker would hang.
                password = self.ssl_key_password.get_secret_value() if self.ssl_key_password else ""
                context.load_cert_chain(self.ssl_cert_file, self.ssl_key_file, password)
        except (ssl.SSLError, OSError) as error:
            if variable == "NPS_SSL_CERT_FILE" and self._key_is_locked():
                problem = "NPS_SSL_KEY_PASSWORD: must be set to what opens NPS_SSL_KEY_FILE"
            else:
                problem = f"{variable}: cannot be used ({getattr(error, 'reason', None) or error.strerror})"
            raise SettingsError([problem]) from None
        return context

    def _key_is_locked(self) -> bool:
        key_file = self.ssl_key_file or self.ssl_cert_file
        assert key_file is not None, "asked only where there is one"
        try:
            return b"ENCRYPTED" in key_file.read_bytes()
        except OSError:
            return False


class Settings(CrmSettings, _WorkerSettings):
    """Every setting. An attribute is its variable's name without `NPS_`, in lower case; metadata has the unit."""


def _known(variable: str) -> bool:
    return variable.removeprefix(ENV_PREFIX).lower() in Settings.model_fields


def _unknown(variable: str) -> str:
    near = _nearest(variable, [ENV_PREFIX + name.upper() for name in Settings.model_fields])
    return f"{variable}: there is no such setting{near or '; nps settings lists them'}"


__all__ = ["ENV_PREFIX", "Settings", "SettingsError"]
