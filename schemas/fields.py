"""The types that fields of responses, events and score rows are made of.

Every rule that can be is a constraint of pydantic's core, which checks it while it reads the bytes; the same rules go
out as JSON Schema. The patterns stay within what Rust's `regex`, ECMA-262 and Python's `re` read alike: no look-ahead,
no Unicode classes, ASCII alone.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from schemas.times import MAX_US, MIN_US, format_rfc3339, parse_rfc3339

NO_CONTROL: Final = r"^[^\u0000-\u001f\u007f-\u009f]*$"
"""No character of the Unicode category Cc, which is these 65."""

_YEAR: Final = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_LEAP_YEAR: Final = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
REAL_DATE: Final = (
    f"(?:{_YEAR}-(?:"
    "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    f"|{_LEAP_YEAR}-02-29)"
)
"""A day of the Gregorian calendar in the years 1 to 9999."""
_CLOCK: Final = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
ANY_INSTANT: Final = rf"^{REAL_DATE}[Tt]{_CLOCK}:[0-5][0-9](?:\.[0-9]+)?(?:[Zz]|[+-]{_CLOCK})$"
"""As publishers may write an instant."""
UTC_INSTANT: Final = rf"^{REAL_DATE}T{_CLOCK}:[0-5][0-9](?:\.[0-9]{{6}})?Z$"
"""As this processor writes one."""

SEGMENT_NAME: Final = (
    "(?:[b-z][a-z0-9_]{0,31}|a(?:[a-km-z0-9_][a-z0-9_]{0,30})?|al(?:[a-km-z0-9_][a-z0-9_]{0,29})?|all[a-z0-9_]{1,29})"
)
"""`[a-z][a-z0-9_]{0,31}` but not `all`, spelt without look-ahead."""
SEGMENT_NAME_RULE: Final = "name must match [a-z][a-z0-9_]{0,31} and not be all"
"""The same for people; whose name it is comes before it."""

Category: TypeAlias = Literal["detractor", "passive", "promoter"]
ReasonGiven: TypeAlias = Literal[
    "expectations_met", "no_major_problems", "indifferent", "needs_more_time", "value_for_price"
]
"""Why somebody is passive, in the survey's own words."""
Action: TypeAlias = Literal[
    "personal_follow_up", "tailored_offer", "product_improvement", "incentive", "follow_up_question", "other"
]
"""What is done about a passive customer."""


def _text(lowest: int, highest: int) -> Any:
    return Field(min_length=lowest, max_length=highest, pattern=NO_CONTROL)


ResponseId: TypeAlias = Annotated[str, _text(1, 128)]
CustomerId: TypeAlias = Annotated[str, _text(1, 256)]
SurveyId: TypeAlias = Annotated[str, _text(1, 128)]
AccountId: TypeAlias = Annotated[str, _text(1, 128)]
Score: TypeAlias = Annotated[int, Field(ge=0, le=10)]
Csat: TypeAlias = Annotated[int, Field(ge=1, le=5)]
Revision: TypeAlias = Annotated[int, Field(ge=0, le=2**53 - 1)]
Comment: TypeAlias = Annotated[str, Field(max_length=4000)]
Language: TypeAlias = Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*$")]
CustomerSince: TypeAlias = Annotated[str, Field(min_length=10, max_length=10, pattern=f"^{REAL_DATE}$")]
SegmentName: TypeAlias = Annotated[str, Field(pattern=f"^{SEGMENT_NAME}$")]
SegmentValue: TypeAlias = Annotated[str, _text(1, 64)]
Segments: TypeAlias = Annotated[dict[SegmentName, SegmentValue], Field(max_length=8)]
EventId: TypeAlias = Annotated[
    str,
    Field(
        min_length=36, max_length=36, pattern="^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
    ),
]
"""A UUID of version 5, in lower case."""
EventIdGiven: TypeAlias = Annotated[str, _text(1, 128)]
"""An event's id as others send it back: any text, for one that we never gave is just not known."""


class _Rfc3339:
    """`int` microseconds in Python, RFC 3339 text in JSON. Python callers may give either."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.no_info_after_validator_function(parse_rfc3339, core_schema.str_schema(strict=True))
        whole = core_schema.int_schema(strict=True, ge=MIN_US, le=MAX_US)
        return core_schema.json_or_python_schema(
            json_schema=text,
            python_schema=core_schema.union_schema([whole, text]),
            serialization=core_schema.plain_serializer_function_ser_schema(
                format_rfc3339, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        written = handler.mode == "serialization"
        return {"type": "string", "format": "date-time", "pattern": UTC_INSTANT if written else ANY_INSTANT}


Instant: TypeAlias = Annotated[int, _Rfc3339]
"""Microseconds since the epoch, UTC."""
