"""A broker that trusts nobody: TLS, client certificates, SCRAM, and an authorizer that is on.

Its PLAINTEXT listener is for setting up: whoever comes there (`User:ANONYMOUS`) may do everything.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from streams.broker import Broker
from tests.security.certificates import CLIENT_NAME, Certificates, make_certificates

LISTENERS = {
    "TLS": "SSL",
    "TLS_CLIENTS": "SSL",
    "TLS_ELSEWHERE": "SSL",
    "SCRAM": "SASL_PLAINTEXT",
    "SCRAM_TLS": "SASL_SSL",
}
SUPER_USER = "chief"
PASSWORD = "correct horse"
_SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


@dataclass(frozen=True)
class SecureBroker:
    """Where it listens, and what opens it."""

    broker: Broker
    certificates: Certificates
    admin: AdminClient
    """librdkafka's, as a super user."""

    def add_user(self, name: str) -> None:
        """A user with PASSWORD, who may do nothing."""
        credentials = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion(name, credentials, PASSWORD.encode())
        for future in self.admin.alter_user_scram_credentials([change]).values():
            future.result(30)

    def scram(self, user: str, listener: str = "SCRAM") -> dict[str, str]:
        """Settings to come as this user."""
        settings = {
            "NPS_BOOTSTRAP_SERVERS": self.broker.address_of(listener),
            "NPS_SECURITY_PROTOCOL": LISTENERS[listener],
            "NPS_SASL_MECHANISM": "SCRAM-SHA-512",
            "NPS_SASL_USERNAME": user,
            "NPS_SASL_PASSWORD": PASSWORD,
        }
        if listener == "SCRAM_TLS":
            settings["NPS_SSL_CA_FILE"] = str(self.certificates.ca)
        return settings


@pytest.fixture(scope="session")
def secure_broker(needs_broker: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    directory = tmp_path_factory.mktemp("secure-broker")
    certificates = make_certificates(directory / "certificates")
    data_dir = directory / "broker"
    broker = Broker(
        data_dir,
        listeners=LISTENERS,
        heap_max="512m",
        heap_min="256m",
        extra_properties=_properties(certificates),
        short_lived=True,
    )
    with broker:
        secure = SecureBroker(broker, certificates, AdminClient({"bootstrap.servers": broker.bootstrap_servers}))
        secure.add_user(SUPER_USER)
        yield secure
    shutil.rmtree(data_dir / "log", ignore_errors=True)


def _properties(certificates: Certificates) -> dict[str, str]:
    return {
        "log.cleaner.backoff.ms": "200",
        "log.retention.check.interval.ms": "1000",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:ANONYMOUS;User:{SUPER_USER};User:{CLIENT_NAME}",
        "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]*).*$/$1/,DEFAULT",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certificates.server_store),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(certificates.ca),
        "listener.name.tls_clients.ssl.client.auth": "required",
        "listener.name.tls_elsewhere.ssl.keystore.location": str(certificates.elsewhere_store),
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        **{
            f"listener.name.{listener}.scram-sha-512.sasl.jaas.config": _SCRAM_LOGIN
            for listener in ("scram", "scram_tls")
        },
    }
