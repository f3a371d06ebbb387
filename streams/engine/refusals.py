"""Why brokers do not take our connections, in a sentence that begins with the setting to look at.

aiokafka's clients only say that no broker could be reached, and log the rest. So when that happened, each address is
tried once more, alone, and what comes back is read.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from aiokafka.conn import SaslGSSAPIAuthenticator, collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

ATTEMPT_TIMEOUT_MS = 5_000
_NAME_MISMATCHES = frozenset({62, 64})  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21})  # issuer not found, self-signed, not verified
_CERTIFICATE_ALERTS = ("BAD_CERTIFICATE", "CERTIFICATE_REQUIRED", "CERTIFICATE_UNKNOWN", "UNKNOWN_CA", "EXPIRED")


class Refusal(NamedTuple):
    """A broker's answer that is no."""

    sentence: str
    final: bool
    """Waiting will not change it."""


async def refusal(kafka: Mapping[str, Any]) -> Refusal | None:
    """Return why a broker refuses these settings (a final reason first); None: nobody answers, or who does agrees."""
    security = {name: value for name, value in kafka.items() if name != "bootstrap_servers"}
    found: Refusal | None = None
    for host, port, _ in collect_hosts(kafka["bootstrap_servers"]):
        try:
            connection = await create_conn(host, port, request_timeout_ms=ATTEMPT_TIMEOUT_MS, **security)
            try:
                await connection.send(MetadataRequest([]))
                return None
            finally:
                connection.close()
        except (KafkaError, OSError, TimeoutError) as error:
            server = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            answer = _read(error, server, security["security_protocol"], security.get("sasl_mechanism"))
        if answer is not None and answer.final:
            return answer
        found = found or answer
    return found


def _read(error: Exception, server: str, protocol: str, mechanism: str | None) -> Refusal | None:
    cause = error.__cause__ if isinstance(error, KafkaConnectionError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Refusal(_certificate(cause, server), final=True)
    if isinstance(cause, ssl.SSLError):
        return _tls(cause, server)
    if isinstance(cause, SaslAuthenticationFailed) and mechanism == "GSSAPI":
        why = f" ({cause})" if str(cause) else ""
        return Refusal(
            f"NPS_SASL_MECHANISM: Kerberos with {server} fails{why}: see klist and NPS_SASL_KERBEROS_SERVICE_NAME",
            final=True,
        )
    if isinstance(cause, SaslAuthenticationFailed):
        return Refusal(f"NPS_SASL_USERNAME, NPS_SASL_PASSWORD: {server} does not accept them ({mechanism})", final=True)
    if isinstance(cause, UnsupportedSaslMechanismError):
        return Refusal(f"NPS_SASL_MECHANISM: {server} does not offer {mechanism}", final=True)
    if isinstance(cause, IllegalSaslStateError):
        return Refusal(f"NPS_SECURITY_PROTOCOL: {server} asks for no SASL, and this is {protocol}", final=True)
    if isinstance(cause, ConnectionResetError | asyncio.IncompleteReadError):
        return Refusal(
            f"NPS_SECURITY_PROTOCOL: {server} takes the connection and ends it, as a listener does that speaks another"
            f" protocol than {protocol}",
            final=False,
        )
    return None


def _certificate(error: ssl.SSLCertVerificationError, server: str) -> str:
    if error.verify_code in _NAME_MISMATCHES:
        return (
            f"NPS_BOOTSTRAP_SERVERS: the certificate of {server} is another host's; use the name in the certificate"
            " (or set NPS_SSL_CHECK_HOSTNAME=false, which lets anybody with a certificate of that authority pose as it)"
        )
    if error.verify_code in _UNKNOWN_AUTHORITY:
        return f"NPS_SSL_CA_FILE: the certificate of {server} is not signed by these authorities"
    return f"NPS_SSL_CA_FILE: the certificate of {server} does not hold ({error.verify_message.rstrip('.')})"


def _tls(error: ssl.SSLError, server: str) -> Refusal:
    reason = error.reason or "TLS error"
    if any(alert in reason for alert in _CERTIFICATE_ALERTS):
        return Refusal(
            f"NPS_SSL_CERT_FILE: {server} asks for a client certificate and accepts none that is missing, or not signed"
            " by an authority that it knows, or expired",
            final=True,
        )
    return Refusal(f"NPS_SECURITY_PROTOCOL: TLS with {server} fails ({reason.lower().replace('_', ' ')})", final=False)


def _kerberos_step(authenticator: Any, payload: bytes | None) -> Any:
    """In place of aiokafka's: what the Kerberos library raises (no ticket, an expired one) is nothing that aiokafka's
    tasks expect, and would end them one by one.
    """
    try:
        return _step(authenticator, payload)
    except Exception as error:
        raise SaslAuthenticationFailed(" ".join(str(error).split())) from error


_step: Final = SaslGSSAPIAuthenticator._step
SaslGSSAPIAuthenticator._step = _kerberos_step
