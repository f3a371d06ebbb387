"""The file of endpoints (TOML): read at the start, every fault named, nothing secret in it or repeated from it.

    [endpoints.hubspot]
    url = "https://hooks.example.com/nps"
    secrets = ["env:HUBSPOT_SECRET"]
    types = ["nps.passive-detected.v1"]
    surveys = ["relationship-2026"]
    segments = { country = ["NO", "SE"] }

Secrets, and an address that is one, are named by where they are: `env:NAME` or `file:PATH`.
"""

from __future__ import annotations

import os
import re
import ssl
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails, PydanticCustomError
from yarl import URL

from schemas.events import EVENT_MODELS
from schemas.fields import SEGMENT_NAME_RULE, SegmentName, SegmentValue, SurveyId
from streams.setting_fields import ENV_PREFIX, SettingsError, nearest
from streams.settings import Settings
from streams.webhooks.addresses import is_public
from streams.webhooks.filters import Filter
from streams.webhooks.signing import Secret

MAX_ENDPOINTS: Final = 64
MAX_SECRETS: Final = 2
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")

Start = Literal["now", "beginning"]


class ConfigError(Exception):
    """The file of endpoints is wrong. `problems`: a sentence for each fault, beginning with its place in the file."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: Final = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, repr=False)
class Endpoint:
    """Somebody to deliver to."""

    name: str
    url: URL
    secrets: tuple[Secret, ...]
    """One or two, each of which signs."""
    filter: Filter
    start: Start
    """Where to begin in topics that were never read for this endpoint."""
    private_allowed: bool
    """Whether the host is one that may have a private address."""
    tls: ssl.SSLContext
    concurrency: int | None
    """Requests under way; None: NPS_WEBHOOKS_CONCURRENCY."""

    def __repr__(self) -> str:
        return f"Endpoint({self.name})"  # the address may be a secret, too

    @property
    def host(self) -> str:
        """All of the address that may be shown."""
        return self.url.host or ""


def read_endpoints(settings: Settings) -> list[Endpoint]:
    """Read the file that the settings name. Raises SettingsError when they name none, and ConfigError."""
    if settings.webhooks_file is None:
        raise SettingsError(["NPS_WEBHOOKS_FILE: must name the file of endpoints (docs/crm.md has one)"])
    return read_config(settings.webhooks_file, settings.webhooks_private_hosts)


def read_config(
    path: Path, private_hosts: Sequence[str], environment: Mapping[str, str] = os.environ
) -> list[Endpoint]:
    """Read and check the file; secrets are fetched now. Relative paths in it begin beside it.

    Raises:
        ConfigError: with every fault.
    """
    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise ConfigError([f"{path} cannot be read: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path} is not TOML: {error}"]) from None
    problems: list[str] = []
    endpoints = list(_endpoints(document, _Reader(path.parent, private_hosts, environment), problems))
    if problems:
        raise ConfigError(f"{path}: {problem}" for problem in problems)
    return endpoints


def _endpoints(document: dict[str, Any], reader: _Reader, problems: list[str]) -> Iterator[Endpoint]:
    problems += [f"{name} is not known{nearest(name, ['endpoints'])}" for name in document if name != "endpoints"]
    tables = document.get("endpoints")
    if not isinstance(tables, dict) or not 1 <= len(tables) <= MAX_ENDPOINTS:
        problems.append(f"endpoints must be 1 to {MAX_ENDPOINTS} tables [endpoints.NAME]")
        return
    for name, table in tables.items():
        if _NAME.fullmatch(name) is None:
            problems.append(f"endpoints.{name}: a name must match {_NAME.pattern}")
        before = len(problems)
        endpoint = reader.read(name, table, problems)
        if endpoint is not None and len(problems) == before:
            yield endpoint


class _Reader:
    """Makes endpoints of tables."""

    def __init__(self, folder: Path, private_hosts: Sequence[str], environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._private_hosts = frozenset(private_hosts)
        self._environment = environment

    def read(self, name: str, table: Any, problems: list[str]) -> Endpoint | None:
        """Return the endpoint; None, with a problem or more, where it is none."""
        try:
            given = _Endpoint.model_validate(table, context=self)
        except ValidationError as error:
            problems += [f"endpoints.{name}{_sentence(each)}" for each in error.errors()]
            return None
        return Endpoint(
            name=name,
            url=given.url,
            secrets=tuple(given.secrets),
            filter=Filter.of(given.types, given.surveys, given.segments),
            start=given.start,
            private_allowed=given.url.host in self._private_hosts,
            tls=given.ca_file,
            concurrency=given.concurrency,
        )

    def url(self, text: str) -> URL:
        """An address, or what names one."""
        if text.startswith(("env:", "file:")):
            text = self._referred(text)
        try:
            url = URL(text)
            host, port = url.host, url.port  # an impossible port shows itself here
        except ValueError:
            raise ValueError("must be an address such as https://crm.example.com/hooks/nps") from None
        if url.scheme not in ("https", "http") or not host or not port or text != text.strip():
            raise ValueError("must be an address such as https://crm.example.com/hooks/nps")
        if url.user is not None or url.password is not None or url.fragment:
            raise ValueError("must have no user, password or fragment in it")
        if host not in self._private_hosts:
            named = f"{host} is not in NPS_WEBHOOKS_PRIVATE_HOSTS"
            if url.scheme != "https":
                raise ValueError(f"must begin with https:// ({named})")
            if _is_refused_address(host):
                raise ValueError(f"must not be a private or link-local address ({named})")
        return url

    def secret(self, text: str) -> Secret:
        """What `text` names."""
        return Secret(self._referred(text))

    def _referred(self, text: str) -> str:
        """What is in a variable or a file. Never a part of an error."""
        kind, _, where = text.partition(":")
        if kind == "env" and where:
            if where.startswith(ENV_PREFIX):
                raise ValueError(f"names a variable that begins with {ENV_PREFIX}: those are settings")
            if not self._environment.get(where):
                raise ValueError(f"names the variable {where}, which is not set")
            return self._environment[where].strip()
        if kind == "file" and where:
            try:
                return (self._folder / where).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise ValueError(f"names the file {where}, which cannot be read: {error.strerror}") from None
            except UnicodeDecodeError:
                raise ValueError(f"names the file {where}, which is not text in UTF-8") from None
        raise ValueError("must say where it is: env:NAME or file:PATH")

    def tls(self, ca_file: str) -> ssl.SSLContext:
        """Trust whom a file names."""
        try:
            return ssl.create_default_context(cafile=self._folder / ca_file)
        except OSError as error:  # ssl.SSLError is one
            reason = getattr(error, "reason", None) or error.strerror
            raise ValueError(f"cannot be used: {reason}") from None


@cache
def _system_tls() -> ssl.SSLContext:
    """Trusts whom the machine trusts. One for all endpoints: to read the certificates takes 30 ms."""
    return ssl.create_default_context()


def _is_refused_address(host: str) -> bool:
    try:
        return not is_public(host)
    except ValueError:
        return False  # a name: looked at when it is connected to


def _made(make: Callable[[_Reader, str], object]) -> PlainValidator:
    """A field that is text in the file and made into something. A part of the validation, so that what is wrong here is
    named together with all else that is wrong.
    """

    def validate(value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            raise PydanticCustomError("no_text", "no text")
        reader: _Reader = info.context  # type: ignore[assignment]
        return make(reader, value)

    return PlainValidator(validate)


def _known_type(text: str) -> str:
    if text not in EVENT_MODELS:
        raise ValueError(f"is no type of event{nearest(text, EVENT_MODELS)}")
    return text


class _Endpoint(BaseModel):
    """As the file has it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: Annotated[URL, _made(_Reader.url)]
    secrets: list[Annotated[Secret, _made(_Reader.secret)]] = Field(min_length=1, max_length=MAX_SECRETS)
    types: list[Annotated[str, AfterValidator(_known_type)]] | None = Field(default=None, min_length=1)
    surveys: list[SurveyId] | None = Field(default=None, min_length=1)
    segments: dict[SegmentName, list[SegmentValue]] = {}
    start: Start = "now"
    ca_file: Annotated[ssl.SSLContext, _made(_Reader.tls)] = Field(default_factory=_system_tls)
    concurrency: int | None = Field(default=None, ge=1, le=256)


_RULES: Final = {
    "url": "must be a string",
    "secrets": f"must be a list of 1 to {MAX_SECRETS} strings, each env:NAME or file:PATH",
    "types": "must be a list of types of events",
    "surveys": "must be a list of survey ids",
    "segments": 'must be a table of lists, such as { country = ["NO", "SE"] }',
    "start": 'must be "now" or "beginning"',
    "ca_file": "must be the path of a file of certificates",
    "concurrency": "must be an integer from 1 to 256",
}


def _sentence(error: ErrorDetails) -> str:
    """What is wrong, without what was there instead: it may be a secret at the wrong place."""
    if not error["loc"]:
        return " must be a table"
    field = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return f".{field} is not known{nearest(field, _RULES)}"
    if error["type"] == "missing":
        return f".{field} is missing: it {_RULES[field]}"
    place = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"][1:] if part != "[key]"
    )
    if error["type"] == "value_error":  # a sentence of ours
        return f".{field}{place} {error['ctx']['error']}"
    if "[key]" in error["loc"]:
        return f".{field}{place}: a segment's {SEGMENT_NAME_RULE}"
    return f".{field}{place}: {field} {_RULES[field]}"
