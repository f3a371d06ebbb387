"""What settings are made of: fields with a unit, lists, tokens, and what is said of a wrong one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, FilePath
from pydantic_core import ErrorDetails

ENV_PREFIX: Final = "NPS_"
MIN_TOKEN_CHARS: Final = 16

_BEARER_TOKEN = re.compile(rf"(?=.{{{MIN_TOKEN_CHARS}}})[A-Za-z0-9._~+/-]+=*")  # RFC 6750
_MESSAGES = {  # by pydantic's error type
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "int_parsing": "must be an integer",
    "int_from_float": "must be an integer",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "literal_error": "must be {expected}",
    "path_not_file": "must be a file that exists",
    "string_too_short": "must not be empty",
    "string_too_long": "must be at most {max_length} characters",
}


def _looked_at(path: object) -> object:
    """Pydantic asks whether it is a file, and lets through what the system says to that."""
    if isinstance(path, str | Path):
        try:
            Path(path).is_file()
        except OSError as error:
            raise ValueError(f"cannot be looked at ({error.strerror}): {str(path)!r}") from None
    return path


File = Annotated[FilePath, BeforeValidator(_looked_at)]
"""The path of a file that exists."""


class SettingsError(ValueError):
    """The environment is wrong. `problems`: one sentence each, beginning with the variable's name."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def setting(default: Any, description: str, unit: str = "", **bounds: Any) -> Any:
    """Return a field of a class of settings."""
    return Field(default=default, description=description, json_schema_extra={"unit": unit}, **bounds)


def split(text: str) -> list[str]:
    """Return the parts of comma-separated text, without those that are empty."""
    return [part for part in (part.strip() for part in text.split(",")) if part]


def check_token(token: str) -> None:
    """Raise ValueError for what cannot be a bearer token, or is too short for one."""
    if _BEARER_TOKEN.fullmatch(token) is None:
        raise ValueError(
            f"must be at least {MIN_TOKEN_CHARS} characters: letters, digits and -._~+/, with = at the end"
        )


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about a name that is not known: what was probably meant, or all that are known."""
    matches = get_close_matches(name, sorted(known), n=1, cutoff=0.0 if name.startswith(ENV_PREFIX) else 0.5)
    return f"; did you mean {matches[0]}?" if matches else f"; known are {', '.join(sorted(known))}"


def problems_of(error: ErrorDetails) -> list[str]:
    """One validation error in sentences. A secret is any text at all, so none can be what an error repeats."""
    context = error.get("ctx", {})
    if not error["loc"]:  # the check of values together names its variables itself
        return str(context["error"]).splitlines()
    name = str(error["loc"][0])
    kind = error["type"]
    if kind == "value_error":
        message = str(context["error"])
    elif kind in _MESSAGES:
        message = f"{_MESSAGES[kind].format(**context)}, not {error['input']!r}"
    else:
        message = error["msg"]
    return [f"{ENV_PREFIX}{name.upper()}: {message}"]
