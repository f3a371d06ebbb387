"""The settings of what speaks HTTP with a CRM: `nps webhooks` out, `nps intake` in."""

from __future__ import annotations

import re

from pydantic import BaseModel, SecretStr, field_validator

from streams.setting_fields import File, check_token, setting, split

MAX_TOKENS = 16

_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|[0-9a-f:]*:[0-9a-f:.]*")


class CrmSettings(BaseModel):
    """Mixed into `Settings`."""

    webhooks_file: File | None = setting(None, "Endpoints that `nps webhooks` delivers to (TOML)")
    webhooks_private_hosts: tuple[str, ...] = setting(
        "", "Hosts that webhooks may reach at private addresses and without TLS, comma-separated"
    )
    webhooks_timeout_s: float = setting(
        10.0, "How long an endpoint may take to answer", "s", ge=0.1, le=60, allow_inf_nan=False
    )
    webhooks_retry_first_s: float = setting(
        1.0, "Wait before a delivery is tried again, doubled each time", "s", ge=0.01, le=300, allow_inf_nan=False
    )
    webhooks_retry_longest_s: float = setting(
        300.0,
        "The longest such wait; where an endpoint asks for more (`Retry-After`) it gets it",
        "s",
        ge=0.01,
        le=86_400,
        allow_inf_nan=False,
    )
    webhooks_retry_for_s: float = setting(
        86_400.0, "How long an event is tried before it is dead-lettered", "s", ge=0, le=1_209_600, allow_inf_nan=False
    )
    webhooks_concurrency: int = setting(16, "Requests under way to one endpoint", "requests", ge=1, le=256)
    webhooks_pending: int = setting(
        1_000,
        "Events held for one endpoint until they are delivered; then reading for it waits",
        "events",
        ge=1,
        le=100_000,
    )
    intake_tokens: SecretStr | None = setting(
        None, "Bearer tokens that `nps intake` takes, comma-separated; needed by it alone; never shown"
    )
    intake_rate: float = setting(
        500.0,
        "Records a second that each token may send to one `nps intake`",
        "1/s",
        ge=0.1,
        le=1_000_000,
        allow_inf_nan=False,
    )
    intake_burst: int = setting(
        5_000, "Records that each token may send at once after a rest", "records", ge=1, le=10_000_000
    )

    @field_validator("webhooks_file", "intake_tokens", mode="before")
    @classmethod
    def _empty_is_unset_here(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("webhooks_private_hosts", mode="before")
    @classmethod
    def _parse_private_hosts(cls, value: object) -> object:
        return tuple(host.lower() for host in split(value)) if isinstance(value, str) else value

    @field_validator("webhooks_private_hosts")
    @classmethod
    def _check_private_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if _HOST.fullmatch(host) is None:
                raise ValueError(f"must be names or addresses without scheme, port or pattern; {host!r} is not")
        return hosts

    @field_validator("intake_tokens")
    @classmethod
    def _check_intake_tokens(cls, tokens: SecretStr | None) -> SecretStr | None:
        if tokens is not None:
            parts = split(tokens.get_secret_value())
            if not 1 <= len(parts) <= MAX_TOKENS:
                raise ValueError(f"must be 1 to {MAX_TOKENS} tokens")
            for token in parts:
                check_token(token)
        return tokens

    def intake_token_list(self) -> list[str]:
        """Return the tokens, none where none is set."""
        return split(self.intake_tokens.get_secret_value()) if self.intake_tokens is not None else []
