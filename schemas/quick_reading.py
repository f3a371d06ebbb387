"""Reads what is usual several times faster than its model, and nothing that the model would read otherwise.

The rules stay in the model: msgspec fills a struct that is made of the model's own JSON Schema. What it can't check is
impossible in the bytes that are let in (control characters), or matched with the schema's pattern or the model's own
validator once per distinct text (language, date, segments). Whatever is not surely right is left to the model, which
also knows what to say of it. So are unknown fields, the insides of which msgspec passes over.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, TypeAdapter

from schemas.fields import ANY_INSTANT, NO_CONTROL, Segments
from schemas.times import parse_rfc3339

TEXTS_REMEMBERED: Final = 4_096
"""Languages, and dates, that were matched lately."""
SEGMENTS_REMEMBERED: Final = 16_384
"""Combinations of segments that were read lately, which responses share, and single ones (some 20 MB)."""
COMBINED_MAX_SEGMENTS: Final = 4
"""Above it hardly two responses have the same combination: their segments are looked up one by one."""

_ESCAPE: Final = 0x5C
_DELETE: Final = 0x7F
_LEAD_OF_C1: Final = 0xC2
"""In UTF-8 the first byte of U+0080 to U+00BF. Control characters can only come as one of these three: as an escape,
U+007F, or among those; JSON lets no others into a string."""


_SEGMENTS: Final[TypeAdapter[dict[str, str]]] = TypeAdapter(Segments, config=ConfigDict(strict=True))


class QuickReader(ABC):
    """Made of a model. Reads what has the attributes that the model would have."""

    MATCHED: ClassVar[frozenset[str]]
    """Fields whose texts have patterns of their own, for `_checked` to match."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._schema: dict[str, Any] = model.model_json_schema()
        fields: list[tuple[str, Any, Any]] = []
        self._patterns: dict[str, str] = {}
        for name, field in self._schema["properties"].items():
            options = field.get("anyOf", [field])
            rule, *others = sorted(options, key=lambda option: option["type"] == "null")
            if (pattern := rule.get("pattern", NO_CONTROL)) not in (NO_CONTROL, ANY_INSTANT):
                self._patterns[name] = pattern
            kind = _kind(rule) | None if others else _kind(rule)
            fields.append((name, kind, _default(name, field, self._schema["required"])))
        assert self._patterns.keys() == self.MATCHED, "_checked matches the patterns of these"
        struct = msgspec.defstruct(model.__name__, fields, kw_only=True, forbid_unknown_fields=True, gc=False)
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(struct).decode

    def read(self, value: bytes) -> Any:
        """Return what was read, or None: the model must decide."""
        if _ESCAPE in value or _DELETE in value or _LEAD_OF_C1 in value:
            return None
        try:
            return self._checked(self._decode(value))
        except (msgspec.DecodeError, ValueError):
            return None

    @abstractmethod
    def _checked(self, found: Any) -> Any:
        """Check what msgspec could not, and set times to numbers. None, or ValueError: the model must decide."""


class QuickFollowUps(QuickReader):
    """Of follow-ups."""

    MATCHED = frozenset()

    def _checked(self, found: Any) -> Any:
        found.occurred_at = parse_rfc3339(found.occurred_at)
        return found


class QuickResponses(QuickReader):
    """Of survey responses."""

    MATCHED = frozenset({"language", "customer_since"})

    def __init__(self, model: type[BaseModel]) -> None:
        super().__init__(model)
        self._language, self._customer_since = (
            lru_cache(TEXTS_REMEMBERED)(re.compile(self._patterns[name]).fullmatch)
            for name in ("language", "customer_since")
        )
        self._segments_max: int = self._schema["properties"]["segments"]["maxProperties"]
        self._combined = lru_cache(SEGMENTS_REMEMBERED)(self._new_segments)
        self._known: set[tuple[str, str]] = set()

    def _segments(self, segments: dict[str, str]) -> dict[str, str]:
        """Return the segments, checked; the same object for the same few ones. Raises ValueError."""
        if len(segments) <= COMBINED_MAX_SEGMENTS:
            return self._combined(*segments.items())
        if not segments.items() <= self._known:
            self._check(segments.items())
        if len(segments) > self._segments_max:
            raise ValueError
        return segments

    def _new_segments(self, *items: tuple[str, str]) -> dict[str, str]:
        self._check(items)
        return dict(items)

    def _check(self, items: Iterable[tuple[str, str]]) -> None:
        """Raise `ValidationError` (a `ValueError`) where the model would."""
        for name, value in items:
            if (name, value) not in self._known:
                _SEGMENTS.validate_python({name: value})
                if len(self._known) >= SEGMENTS_REMEMBERED:
                    self._known.clear()
                self._known.add((name, value))

    def _checked(self, found: Any) -> Any:
        found.segments = self._segments(found.segments)
        found.responded_at = parse_rfc3339(found.responded_at)
        if found.language is not None and self._language(found.language) is None:
            return None
        if found.customer_since is not None and self._customer_since(found.customer_since) is None:
            return None
        return found


def _kind(rule: dict[str, Any]) -> Any:
    """Return the type with the limits of a schema."""
    if rule["type"] == "object":
        return dict[str, str]
    if "enum" in rule:
        return Literal[*rule["enum"]]
    if rule["type"] == "integer":
        return Annotated[int, msgspec.Meta(ge=rule["minimum"], le=rule["maximum"])]
    return Annotated[str, msgspec.Meta(min_length=rule.get("minLength"), max_length=rule.get("maxLength"))]


def _default(name: str, field: dict[str, Any], required: list[str]) -> Any:
    if name in required:
        return msgspec.NODEFAULT
    return msgspec.field(default_factory=dict) if field["default"] == {} else field["default"]
