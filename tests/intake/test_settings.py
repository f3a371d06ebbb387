"""The settings of what speaks HTTP with a CRM; their bounds are tested with all others."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.cli.settings_command import rows
from streams.settings import Settings, SettingsError


def test_reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "w.toml").touch()
    monkeypatch.setenv("NPS_WEBHOOKS_FILE", str(tmp_path / "w.toml"))
    monkeypatch.setenv("NPS_WEBHOOKS_PRIVATE_HOSTS", "CRM.internal, 10.0.0.1,::1")
    monkeypatch.setenv("NPS_INTAKE_TOKENS", "first-token-of-crm, second-token-of-crm==")
    settings = Settings.from_environment()
    assert settings.webhooks_file == tmp_path / "w.toml"
    assert settings.webhooks_private_hosts == ("crm.internal", "10.0.0.1", "::1")
    assert settings.intake_token_list() == ["first-token-of-crm", "second-token-of-crm=="]
    shown = {row.name: row.value for row in rows(settings)}
    assert shown["NPS_INTAKE_TOKENS"] == "********"
    assert shown["NPS_WEBHOOKS_PRIVATE_HOSTS"] == "crm.internal,10.0.0.1,::1"


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPS_WEBHOOKS_FILE", "")
    monkeypatch.setenv("NPS_INTAKE_TOKENS", "")
    settings = Settings.from_environment()
    assert (settings.webhooks_file, settings.intake_tokens, settings.intake_token_list()) == (None, None, [])
    assert (settings.webhooks_timeout_s, settings.webhooks_retry_first_s) == (10, 1)
    assert (settings.webhooks_retry_longest_s, settings.webhooks_retry_for_s) == (300, 86_400)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("WEBHOOKS_FILE", "/nothing/here", "must be a file that exists"),
        ("WEBHOOKS_PRIVATE_HOSTS", "https://crm.internal", "'https://crm.internal' is not"),
        ("WEBHOOKS_PRIVATE_HOSTS", "crm.internal:80", "'crm.internal:80' is not"),
        ("WEBHOOKS_PRIVATE_HOSTS", "*", "'*' is not"),
        ("INTAKE_TOKENS", "planted", "must be at least 16 characters"),
        ("INTAKE_TOKENS", "first-token-of-crm,planted secret with spaces", "must be at least 16 characters"),
        ("INTAKE_TOKENS", ",".join(["a-token-of-16-characters"] * 17), "must be 1 to 16 tokens"),
        ("INTAKE_TOKENS", ",", "must be 1 to 16 tokens"),
        ("WEBHOOK_FILE", "x", "did you mean NPS_WEBHOOKS_FILE?"),
    ],
)
def test_refuses(name: str, text: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"NPS_{name}", text)
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment()
    (problem,) = caught.value.problems
    assert problem.startswith(f"NPS_{name}: ")
    assert said in problem
    assert "planted" not in problem
