"""Which of the settings of SASL go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


def sasl_inconsistencies(
    protocol: str, mechanism: str, credentials: Mapping[str, object], kerberos_domain: str | None
) -> Iterator[str]:
    """Yield a sentence, which begins with the variable to change, for each that has no effect or is missing.

    `credentials`: user name and password, by their names without `NPS_`; None where not set.
    """
    sasl = protocol.startswith("SASL_")
    kerberos = sasl and mechanism == "GSSAPI"
    if kerberos and not _has_gssapi():
        yield "NPS_SASL_MECHANISM: GSSAPI (Kerberos) needs the Python package gssapi (pip install gssapi)"
    for name, value in credentials.items():
        if kerberos and value is not None:
            yield f"NPS_{name}: has no effect with NPS_SASL_MECHANISM=GSSAPI, which takes the Kerberos ticket"
        elif sasl and not kerberos and value is None:
            yield f"NPS_{name}: must be set with NPS_SECURITY_PROTOCOL={protocol}"
        elif not sasl and value is not None:
            yield f"NPS_{name}: has no effect with NPS_SECURITY_PROTOCOL={protocol}"
    if kerberos_domain is not None and not kerberos:
        yield "NPS_SASL_KERBEROS_DOMAIN_NAME: has an effect with NPS_SASL_MECHANISM=GSSAPI alone"


def _has_gssapi() -> bool:
    """Whether the client can speak Kerberos: it needs a package that builds on the machine's libraries."""
    try:
        import gssapi  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        return False
    return True
