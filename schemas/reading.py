"""Reads the value of a record by a model's rules, straight from the bytes, and says in a sentence what is wrong.

The model's validator reads the bytes itself, and whatever needs a second look is looked at only then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json, to_json

from schemas.dead_letters import Reason

M = TypeVar("M", bound=BaseModel)

MAX_VALUE_BYTES: Final = 65_536
MAX_AHEAD_US: Final = 5 * 60 * 1_000_000
"""How far the time that a record tells may be after the record's timestamp."""


class Rejected(Exception):
    """A record that is not what its topic holds.

    `reason` goes into `nps.error.reason` and the metrics; `message` is one sentence that names the field and the rule
    and never holds a value of the record; `field` is the field's name, None when it is the record as a whole.
    """

    def __init__(self, reason: Reason, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.reason: Final = reason
        self.message: Final = message
        self.field: Final = field


_CAPITAL_N: Final = ord("N")
_CAPITAL_I: Final = ord("I")
_LONG_DIGITS: Final = re.compile(rb"([0-9]{4300})[0-9]+")
"""Python converts no longer integers, so neither does the parser: see `_parse`."""


class Reader(Generic[M]):
    """Reads values of one model. `rules`: what each field must be, as dead letters say it; `of_entries`: of the names
    and values in a field that is an object.

    Pydantic's own messages may quote the input; these cannot.
    """

    def __init__(self, model: type[M], rules: Mapping[str, str], of_entries: tuple[str, str] = ("", "")) -> None:
        self._rules = rules
        self._name_rule, self._value_rule = of_entries
        self._validate_json = model.__pydantic_validator__.validate_json

    def read(self, value: bytes) -> M:
        """Return the model's instance. Raises Rejected (`invalid_json`, `invalid_response`)."""
        try:
            # NaN and Infinity are no JSON, but the parser takes them. One byte is far quicker to look for than three.
            if (_CAPITAL_N in value and value.find(b"NaN") >= 0) or (
                _CAPITAL_I in value and value.find(b"Infinity") >= 0
            ):
                _parse(value)
            found: M = self._validate_json(value)
        except ValidationError as error:
            return self._read_again(value, error)
        return found

    def _read_again(self, value: bytes, first: ValidationError) -> M:
        """Decide about a value that the quick reading refused.

        That reading looks at every entry of a JSON object. Where a name repeats, only the last one counts, so an
        earlier one that breaks a rule does not matter: read again what is left once each name is there once.
        """
        parsed = _parse(value)
        if not isinstance(parsed, dict):
            raise Rejected(Reason.INVALID_RESPONSE, "the value must be a JSON object") from first
        try:
            found: M = self._validate_json(to_json(parsed))
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=False, include_input=False)[0]
            raise Rejected(Reason.INVALID_RESPONSE, self._sentence(details), str(details["loc"][0])) from None
        return found

    def _sentence(self, details: ErrorDetails) -> str:
        """Say which field breaks which rule."""
        field = str(details["loc"][0])
        if details["type"] == "missing":
            return f"{field} is required: {self._rules[field]}"
        if len(details["loc"]) > 1:
            return f"{field}: {self._name_rule if details['loc'][-1] == '[key]' else self._value_rule}"
        return f"{field} must be {self._rules[field]}"


def _parse(value: bytes) -> Any:
    """Parse by the letter of RFC 8259, the last of a repeated name winning; `Rejected` (`invalid_json`)."""
    try:
        return from_json(value, allow_inf_nan=False)
    except ValueError as error:
        # A number of any length is JSON. Cut to 4,300 digits it is as far outside every rule as it was before.
        shortened = _LONG_DIGITS.sub(rb"\1", value)
        if len(shortened) < len(value):
            return _parse(shortened)
        raise Rejected(Reason.INVALID_JSON, f"the value is not JSON in UTF-8: {error}") from None
