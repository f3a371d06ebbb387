"""Which events an endpoint wants: by type, survey and segments; all that are given must hold.

Why the end of a case is let through where its segments do not say: docs/decisions/0157.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from schemas.events import EVENT_MODELS, SCORE_CHANGED

HAVE_SEGMENTS: Final = frozenset(
    name for name, model in EVENT_MODELS.items() if model.model_config.get("extra") == "allow"
)
"""Types whose events carry the segments of a response. Of others nobody can tell: they pass a filter of segments."""


class Filter(NamedTuple):
    """What to let through."""

    types: frozenset[str] | None
    surveys: frozenset[str] | None
    segments: tuple[tuple[str, frozenset[str]], ...]
    """The event's field, the values that it may have."""

    @classmethod
    def of(
        cls, types: Iterable[str] | None, surveys: Iterable[str] | None, segments: Mapping[str, Iterable[str]]
    ) -> Filter:
        """Make one; None lets all through."""
        return cls(
            None if types is None else frozenset(types),
            None if surveys is None else frozenset(surveys),
            tuple((f"segment_{name}", frozenset(values)) for name, values in segments.items()),
        )

    def wants(self, event_type: str, data: bytes) -> bool:
        """Whether to deliver an event; `data` is its JSON. What cannot be read is let through."""
        if self.types is not None and event_type not in self.types:
            return False
        segments = self.segments if event_type in HAVE_SEGMENTS else ()
        if self.surveys is None and not segments:
            return True
        try:
            fields = msgspec.json.decode(data, type=dict)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return True
        if self.surveys is not None and not _among(fields.get("survey_id", ""), self.surveys):
            return False
        return all(
            _among(fields[name], values) if name in fields else event_type == SCORE_CHANGED for name, values in segments
        )


def _among(value: object, wanted: frozenset[str]) -> bool:
    """What is no text was written by nobody we know: it cannot be read either."""
    return not isinstance(value, str) or value in wanted
