"""Kerberos is passed on to the client where the machine has it. Here is none: a stand-in for the package gssapi."""

from __future__ import annotations

import asyncio
import sys
from inspect import signature
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, conn
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import SaslAuthenticationFailed

from streams.engine import refusals
from streams.settings import Settings, SettingsError
from tests.security.commands import nps
from tests.security.conftest import SecureBroker

KERBEROS = {"NPS_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "NPS_SASL_MECHANISM": "GSSAPI"}


@pytest.fixture
def kerberos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", SimpleNamespace())  # type: ignore[arg-type]
    for name, value in KERBEROS.items():
        monkeypatch.setenv(name, value)


def test_the_settings_are_what_every_client_takes(kerberos: None, monkeypatch: pytest.MonkeyPatch) -> None:
    passed = {"sasl_mechanism": "GSSAPI", "sasl_kerberos_service_name": "kafka", "sasl_kerberos_domain_name": None}
    assert passed.items() <= Settings.from_environment().kafka().items()
    monkeypatch.setenv("NPS_SASL_KERBEROS_SERVICE_NAME", "broker")
    monkeypatch.setenv("NPS_SASL_KERBEROS_DOMAIN_NAME", "kafka.example")
    arguments = Settings.from_environment().kafka()
    named = {"sasl_kerberos_service_name": "broker", "sasl_kerberos_domain_name": "kafka.example"}
    assert (passed | named).items() <= arguments.items()
    assert not {"sasl_plain_username", "sasl_plain_password"} & arguments.keys()
    for client in (AIOKafkaConsumer, AIOKafkaProducer, AIOKafkaAdminClient):
        signature(client).bind(**arguments)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SASL_USERNAME", "no effect"),
        ("SASL_PASSWORD", "no effect"),
        ("SASL_KERBEROS_SERVICE_NAME", "must not be empty"),
    ],
)
def test_what_does_not_go_with_it_is_refused(
    kerberos: None, name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"NPS_{name}", "" if "KERBEROS" in name else "x")
    with pytest.raises(SettingsError, match=f"^NPS_{name}: .*{said}"):
        Settings.from_environment()


def test_without_kerberos_its_domain_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPS_SASL_KERBEROS_DOMAIN_NAME", "kafka.example")
    with pytest.raises(SettingsError, match=r"^NPS_SASL_KERBEROS_DOMAIN_NAME: .*GSSAPI alone"):
        Settings.from_environment()


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", None)
    for name, value in KERBEROS.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=r"^NPS_SASL_MECHANISM: GSSAPI \(Kerberos\) needs .*pip install gssapi"):
        Settings.from_environment()


async def test_a_ticket_that_is_missing_is_a_refusal_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library raises, as aiokafka meets it."""

    def no_ticket(*_: object, **__: object) -> None:
        raise RuntimeError("Major (851968): Unspecified GSS failure.\n Minor: No Kerberos credentials available")

    library = SimpleNamespace(Name=no_ticket, NameType=SimpleNamespace(hostbased_service=None))
    monkeypatch.setattr(conn, "gssapi", library)
    authenticator = conn.SaslGSSAPIAuthenticator(loop=asyncio.get_running_loop(), principal="kafka@localhost")
    with pytest.raises(SaslAuthenticationFailed, match="No Kerberos credentials") as caught:
        await authenticator.step(None)
    refused = refusals._read(caught.value, "kafka-1:9092", "SASL_PLAINTEXT", "GSSAPI")
    assert refused is not None
    assert refused.final
    assert refused.sentence.startswith("NPS_SASL_MECHANISM: Kerberos with kafka-1:9092 fails (")
    assert "\n" not in refused.sentence


@pytest.mark.kafka
@pytest.mark.slow
def test_a_broker_that_does_not_offer_it_is_named(secure_broker: SecureBroker, tmp_path: Path) -> None:
    (tmp_path / "gssapi.py").write_text("")
    server = secure_broker.broker.address_of("SCRAM")
    settings = {**KERBEROS, "NPS_BOOTSTRAP_SERVERS": server, "NPS_BROKER_WAIT_S": "5", "PYTHONPATH": str(tmp_path)}
    worker = nps({**settings, "NPS_STATE_DIR": str(tmp_path / "state")}, "worker")
    assert worker.returncode == 1
    assert worker.stderr.splitlines()[-1] == f"nps: NPS_SASL_MECHANISM: {server} does not offer GSSAPI"
    assert "Traceback" not in worker.stderr
    assert f"{server} does not offer GSSAPI" in nps(settings, "doctor").stdout
