"""Endpoints as the file of a test has them."""

from __future__ import annotations

from pathlib import Path

from streams.webhooks.config import Endpoint, read_config
from tests.webhooks.receiver import OTHER_SECRET, SECRET

SECRETS = {"SECRET": SECRET, "OTHER_SECRET": OTHER_SECRET}


def endpoint(folder: Path, url: str, more: str = "", private_hosts: tuple[str, ...] = ("127.0.0.1",)) -> Endpoint:
    """One that is called crm."""
    secrets = "" if "secrets" in more else 'secrets = ["env:SECRET"]'
    path = folder / "webhooks.toml"
    path.write_text(f'[endpoints.crm]\nurl = "{url}"\n{secrets}\n{more}\n')
    (found,) = read_config(path, private_hosts, SECRETS)
    return found
