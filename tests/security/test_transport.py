"""Kafka over TLS, with client certificates, and with SASL/SCRAM: what works, and how each mistake is said."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streams.broker import free_port
from tests.security.certificates import KEY_PASSWORD
from tests.security.commands import nps
from tests.security.conftest import LISTENERS, SUPER_USER, SecureBroker
from tests.support.worker import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

Settings = dict[str, str]


def tls(secure: SecureBroker) -> Settings:
    return {
        "NPS_BOOTSTRAP_SERVERS": secure.broker.address_of("TLS"),
        "NPS_SECURITY_PROTOCOL": "SSL",
        "NPS_SSL_CA_FILE": str(secure.certificates.ca),
    }


def tls_with_client_certificate(secure: SecureBroker) -> Settings:
    return {
        **tls(secure),
        "NPS_BOOTSTRAP_SERVERS": secure.broker.address_of("TLS_CLIENTS"),
        "NPS_SSL_CERT_FILE": str(secure.certificates.client_cert),
        "NPS_SSL_KEY_FILE": str(secure.certificates.client_key_with_password),
        "NPS_SSL_KEY_PASSWORD": KEY_PASSWORD,
    }


def scram(secure: SecureBroker) -> Settings:
    return secure.scram(SUPER_USER)


def scram_over_tls(secure: SecureBroker) -> Settings:
    return secure.scram(SUPER_USER, "SCRAM_TLS")


@pytest.mark.parametrize("way", [tls, tls_with_client_certificate, scram, scram_over_tls])
def test_worker_and_commands_work(
    way: Callable[[SecureBroker], Settings], secure_broker: SecureBroker, unique: str, tmp_path: Path
) -> None:
    settings = {
        **way(secure_broker),
        "NPS_GROUP_ID": unique,
        "NPS_TOPIC_PREFIX": f"{unique}.",
        "NPS_PARTITIONS": "1",
        "NPS_STATE_DIR": str(tmp_path / "state"),
        "NPS_HTTP_PORT": str(free_port()),
    }
    response = {
        "response_id": "r1",
        "customer_id": "c1",
        "survey_id": "s",
        "score": 8,
        "responded_at": datetime.now(UTC).isoformat(),
    }
    with WorkerProcess(settings, tmp_path / "worker.log") as worker:
        worker.wait_ready()
        published = nps(settings, "publish", "-", stdin=json.dumps(response) + "\n")
        assert published.returncode == 0, published.stderr
        deadline = time.monotonic() + 30
        while True:
            shown = nps(settings, "events", "--from-beginning", "--no-follow", "--json")
            assert shown.returncode == 0, shown.stderr
            if shown.stdout or time.monotonic() > deadline:
                break
        assert json.loads(shown.stdout)["data"]["customer_id"] == "c1"
        doctor = nps(settings, "doctor")
        assert doctor.returncode == 0, doctor.stdout + doctor.stderr
        assert worker.sigterm() == 0
    assert "Unable connect" not in worker.log(), worker.log()  # not one connection that is made in another way


def without(settings: Settings, *names: str) -> Settings:
    return {name: value for name, value in settings.items() if name not in names}


def wrong_ca(secure: SecureBroker) -> Settings:
    return {**tls(secure), "NPS_SSL_CA_FILE": str(secure.certificates.stranger_ca)}


def ca_of_the_system(secure: SecureBroker) -> Settings:
    return without(tls(secure), "NPS_SSL_CA_FILE")


def another_host(secure: SecureBroker) -> Settings:
    return {**tls(secure), "NPS_BOOTSTRAP_SERVERS": secure.broker.address_of("TLS_ELSEWHERE")}


def no_client_certificate(secure: SecureBroker) -> Settings:
    return without(tls_with_client_certificate(secure), "NPS_SSL_CERT_FILE", "NPS_SSL_KEY_FILE", "NPS_SSL_KEY_PASSWORD")


def certificate_of_a_stranger(secure: SecureBroker) -> Settings:
    return {**no_client_certificate(secure), "NPS_SSL_CERT_FILE": str(secure.certificates.stranger_cert)}


def wrong_password(secure: SecureBroker) -> Settings:
    return {**scram(secure), "NPS_SASL_PASSWORD": "hunter2"}


def unknown_user_over_tls(secure: SecureBroker) -> Settings:
    return {**scram_over_tls(secure), "NPS_SASL_USERNAME": "nobody"}


def other_mechanism(secure: SecureBroker) -> Settings:
    return {**scram(secure), "NPS_SASL_MECHANISM": "PLAIN"}


def sasl_where_none_is(secure: SecureBroker) -> Settings:
    return {**scram(secure), "NPS_BOOTSTRAP_SERVERS": secure.broker.bootstrap_servers}


def plaintext_to_tls(secure: SecureBroker) -> Settings:
    return {"NPS_BOOTSTRAP_SERVERS": secure.broker.address_of("TLS")}


def plaintext_to_sasl(secure: SecureBroker) -> Settings:
    return {"NPS_BOOTSTRAP_SERVERS": secure.broker.address_of("SCRAM")}


def tls_to_plaintext(secure: SecureBroker) -> Settings:
    return {**tls(secure), "NPS_BOOTSTRAP_SERVERS": secure.broker.bootstrap_servers}


def locked_key_without_password(secure: SecureBroker) -> Settings:
    return without(tls_with_client_certificate(secure), "NPS_SSL_KEY_PASSWORD")


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (wrong_ca, "NPS_SSL_CA_FILE: the certificate of {server} is not signed by"),
        (ca_of_the_system, "NPS_SSL_CA_FILE: the certificate of {server} is not signed by"),
        (another_host, "NPS_BOOTSTRAP_SERVERS: the certificate of {server} is another host's"),
        (no_client_certificate, "NPS_SSL_CERT_FILE: {server} asks for a client certificate"),
        (certificate_of_a_stranger, "NPS_SSL_CERT_FILE: {server} asks for a client certificate"),
        (locked_key_without_password, "NPS_SSL_KEY_PASSWORD: must be set to what opens NPS_SSL_KEY_FILE"),
        (wrong_password, "NPS_SASL_USERNAME, NPS_SASL_PASSWORD: {server} does not accept them (SCRAM-SHA-512)"),
        (unknown_user_over_tls, "NPS_SASL_USERNAME, NPS_SASL_PASSWORD: {server} does not accept them"),
        (other_mechanism, "NPS_SASL_MECHANISM: {server} does not offer PLAIN"),
        (sasl_where_none_is, "NPS_SECURITY_PROTOCOL: {server} asks for no SASL, and this is SASL_PLAINTEXT"),
        (plaintext_to_tls, "NPS_SECURITY_PROTOCOL: {server} takes the connection and ends it"),
        (plaintext_to_sasl, "NPS_SECURITY_PROTOCOL: {server} takes the connection and ends it"),
        (tls_to_plaintext, "NPS_SECURITY_PROTOCOL: "),
    ],
)
def test_mistakes_are_one_sentence_that_names_the_setting(
    mistake: Callable[[SecureBroker], Settings], says: str, secure_broker: SecureBroker, tmp_path: Path
) -> None:
    settings = {**mistake(secure_broker), "NPS_BROKER_WAIT_S": "1", "NPS_STATE_DIR": str(tmp_path / "state")}
    expected = says.format(server=settings["NPS_BOOTSTRAP_SERVERS"])
    began = time.monotonic()
    worker = nps(settings, "worker")
    assert time.monotonic() - began < 30
    assert worker.returncode == 1
    last = worker.stderr.splitlines()[-1]
    assert expected in last
    assert "Traceback" not in worker.stderr
    assert "hunter2" not in worker.stderr

    events = nps(settings, "events", "--no-follow")
    assert (events.returncode, events.stdout) == (1, "")
    assert expected in events.stderr
    assert len(events.stderr.splitlines()) == 1


def test_doctor_says_it_too(secure_broker: SecureBroker) -> None:
    doctor = nps(wrong_ca(secure_broker), "doctor")
    assert doctor.returncode == 1
    assert "NPS_SSL_CA_FILE: the certificate of" in doctor.stdout


def test_a_final_refusal_is_not_waited_for(secure_broker: SecureBroker, tmp_path: Path) -> None:
    began = time.monotonic()
    worker = nps({**wrong_password(secure_broker), "NPS_BROKER_WAIT_S": "60"}, "worker")
    assert worker.returncode == 1
    assert time.monotonic() - began < 30


def test_a_mechanism_that_is_not_there_is_refused_at_once() -> None:
    refused = nps({"NPS_SECURITY_PROTOCOL": "SASL_SSL", "NPS_SASL_MECHANISM": "OAUTHBEARER"}, "settings")
    assert refused.returncode == 1
    known = "'PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512' or 'GSSAPI'"
    assert f"NPS_SASL_MECHANISM: must be {known}, not 'OAUTHBEARER'" in refused.stderr


def test_every_listener_is_on_loopback(secure_broker: SecureBroker) -> None:
    assert all(secure_broker.broker.address_of(name).startswith("127.0.0.1:") for name in LISTENERS)
