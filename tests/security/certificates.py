"""Certificates for a broker and its clients, made for one test run: an authority, a server, a client, a stranger."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

CLIENT_NAME = "nps-worker"
KEY_PASSWORD = "opens-the-key"


@dataclass(frozen=True)
class Certificates:
    """PEM files. `*_store` hold a key and its certificate together, as Kafka wants them."""

    ca: Path
    stranger_ca: Path
    """An authority that signed nothing here."""
    server_store: Path
    elsewhere_store: Path
    """A server's that is called otherwise."""
    client_cert: Path
    client_key: Path
    client_key_with_password: Path
    stranger_cert: Path
    """A client's, signed by the stranger; with its key."""


def make_certificates(directory: Path) -> Certificates:
    directory.mkdir(parents=True, exist_ok=True)
    authority, stranger = trustme.CA(), trustme.CA()

    def write(name: str, *parts: bytes) -> Path:
        path = directory / name
        path.write_bytes(b"".join(parts))
        return path

    def store(name: str, leaf: trustme.LeafCert) -> Path:
        return write(name, pkcs8(leaf), *(blob.bytes() for blob in leaf.cert_chain_pems), authority.cert_pem.bytes())

    client = authority.issue_cert("client.invalid", common_name=CLIENT_NAME)
    outsider = stranger.issue_cert("client.invalid", common_name=CLIENT_NAME)
    return Certificates(
        ca=write("ca.pem", authority.cert_pem.bytes()),
        stranger_ca=write("stranger-ca.pem", stranger.cert_pem.bytes()),
        server_store=store("server.pem", authority.issue_cert("127.0.0.1")),
        elsewhere_store=store("elsewhere.pem", authority.issue_cert("kafka.invalid")),
        client_cert=write("client.crt", *(blob.bytes() for blob in client.cert_chain_pems)),
        client_key=write("client.key", pkcs8(client)),
        client_key_with_password=write("client-locked.key", pkcs8(client, KEY_PASSWORD)),
        stranger_cert=write("outsider.pem", outsider.private_key_and_cert_chain_pem.bytes()),
    )


def pkcs8(leaf: trustme.LeafCert, password: str | None = None) -> bytes:
    """The key in the one form that Kafka reads from PEM files."""
    key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
