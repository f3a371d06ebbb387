"""Standard Webhooks: what proves to an endpoint that a body is ours, and fresh."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

from schemas.webhooks import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER

PREFIX: Final = "whsec_"
MIN_KEY_BYTES: Final = 24
MAX_KEY_BYTES: Final = 64


class Secret:
    """A key to sign with. It shows itself to nobody: neither its text nor its representation tells it."""

    __slots__ = ("_key",)

    def __init__(self, text: str) -> None:
        """`text` is `whsec_` and base64 of 24 to 64 bytes; ValueError (without the text) for anything else."""
        encoded = text.removeprefix(PREFIX)
        try:
            key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if encoded == text or not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
            raise ValueError(f"must be {PREFIX} and {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes in base64")
        self._key: Final = key

    def __repr__(self) -> str:
        return "Secret(********)"

    def sign(self, text: bytes) -> str:
        """Return one signature."""
        digest = hmac.digest(self._key, text, hashlib.sha256)
        return "v1," + base64.b64encode(digest).decode()


def signed_headers(secrets: Iterable[Secret], id_: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Return the three headers; one signature for each secret, so that a receiver may have either."""
    text = b"%b.%d.%b" % (id_.encode(), timestamp_s, body)
    return {
        ID_HEADER: id_,
        TIMESTAMP_HEADER: str(timestamp_s),
        SIGNATURE_HEADER: " ".join(secret.sign(text) for secret in secrets),
    }
