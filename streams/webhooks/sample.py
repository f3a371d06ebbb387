"""An event that nobody caused, to try an endpoint with."""

from __future__ import annotations

import time
import uuid
from typing import Any, Final

import msgspec

from schemas.events import EVENT_MODELS
from schemas.times import US_PER_DAY, format_rfc3339
from schemas.webhooks import Envelope, body

CUSTOMER_ID: Final = "nps-webhooks-test"
_TIMES: Final = {  # days ago
    "passive_since": 40,
    "opened_at": 40,
    "case_opened_at": 40,
    "previous_responded_at": 40,
    "due_at": 37,
    "follow_up_due_at": 37,
    "responded_at": 0,
    "detected_at": 0,
}
_FIELDS: Final[dict[str, Any]] = {
    "customer_id": CUSTOMER_ID,
    "survey_id": CUSTOMER_ID,
    "response_id": "nps-webhooks-test-2",
    "revision": 0,
    "near_promoter": True,
    "trigger": "from_detractor",
    "change": "passive_to_promoter",
    "previous_response_id": "nps-webhooks-test-1",
    "previous_category": "passive",
    "category": "promoter",
    "days_passive": 40.0,
    "cause": "corrected",
    "hours_overdue": 1.0,
    "recommended_action": "personal_follow_up",
}


def sample(event_type: str) -> Envelope:
    """Return an event of this type, with an id of its own. What may be null and is not known here is null."""
    now_us = time.time_ns() // 1000
    id_ = str(uuid.uuid5(uuid.NAMESPACE_OID, str(now_us)))
    known = _FIELDS | {name: format_rfc3339(now_us - days * US_PER_DAY) for name, days in _TIMES.items()}
    names = EVENT_MODELS[event_type].model_fields
    changed = "category" in names and "score" in names
    known |= {"score": 9, "previous_score": 8} if changed else {"score": 8, "previous_score": 6}
    data = {name: id_ if name.endswith("event_id") else known.get(name) for name in names}
    return Envelope(id_, event_type, body(event_type, format_rfc3339(now_us), msgspec.json.encode(data)))
