"""The story of the demonstration: one customer from a 7 to a 9."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import msgspec

from schemas.times import format_rfc3339
from streams.cli.console import say
from streams.cli.simulated_crm import Crm
from streams.cli.simulated_feed import KafkaSink
from streams.simulation import Simulated

STORY_WITHIN_S = 30.0
LOOK_S = 0.1
KARI = "c-kari"


class Story:
    """One customer from a 7 to a 9, told step by step."""

    def __init__(self, url: str, sink: KafkaSink, crm: Crm, processed: Callable[[], int]) -> None:
        """`processed` tells how many follow-ups the worker has committed."""
        self.holds = False
        """It went as it should."""
        self._url = url
        self._sink = sink
        self._crm = crm
        self._processed = processed
        self._events: dict[str, dict[str, Any]] = {}

    def event(self, event_type: str, data: dict[str, Any]) -> None:
        """Take note of an event."""
        if data.get("customer_id") == KARI:
            self._events[event_type] = data

    async def tell(self, detected_type: str, changed_type: str) -> None:
        """Play it. Raises KafkaError."""
        await self._answer("r-kari-1", 7, reason="value_for_price", language="nb-NO")
        detected = await self._read(detected_type)
        if detected is None:
            return
        say(f"  Kari gives a 7 (value_for_price). Found: {detected['recommended_action']} is recommended, and to ask")
        say(f"  “{detected['follow_up_question']}”, by {detected['follow_up_due_at']}")
        contacted = {
            "follow_up_id": "f-kari-1",
            "customer_id": KARI,
            "survey_id": "relationship",
            "response_id": detected["response_id"],
            "detected_event_id": detected["event_id"],
            "status": "contacted",
            "action": "tailored_offer",
            "occurred_at": format_rfc3339(time.time_ns() // 1_000_000 * 1_000),
        }
        await self._crm.send_one(KARI.encode(), msgspec.json.encode(contacted))
        if not await self._until(lambda: self._processed() >= self._crm.sent):
            return
        say("  The CRM calls her with a tailored_offer and says so on nps.follow-ups.")
        await self._answer("r-kari-2", 9)
        changed = await self._read(changed_type)
        if changed is None:
            return
        say(f"  Kari gives a 9: converted, after {changed['follow_up_action']} for {changed['reason']}.")
        row = await self._conversion()
        if row is not None:
            say(f"  /v1/conversions: {row['reason']}, {row['action']}: {row['converted']} of {row['cases']} converted")
        self.holds = row is not None and changed["follow_up_id"] == "f-kari-1"

    async def _answer(self, response_id: str, score: int, **fields: str) -> None:
        now_ms = time.time_ns() // 1_000_000
        value = {
            "response_id": response_id,
            "customer_id": KARI,
            "survey_id": "relationship",
            "score": score,
            "responded_at": format_rfc3339(now_ms * 1_000),
            **fields,
        }
        await self._sink.send(Simulated(KARI.encode(), msgspec.json.encode(value), now_ms, "answer"), now_ms)
        await self._sink.flush()

    async def _read(self, event_type: str) -> dict[str, Any] | None:
        await self._until(lambda: event_type in self._events)
        return self._events.get(event_type)

    async def _conversion(self) -> dict[str, Any] | None:
        """Her row, once it tells of her conversion."""
        deadline = time.monotonic() + STORY_WITHIN_S
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < deadline:
                query = {"segment": "all", "window": "90d", "by": "reason,action"}
                async with session.get(f"{self._url}/v1/conversions", params=query) as response:
                    rows: list[dict[str, Any]] = (await response.json()).get("conversions", [])
                for row in rows:
                    if row["action"] == "tailored_offer" and row["converted"]:
                        return row
                await asyncio.sleep(LOOK_S)
        return None

    async def _until(self, holds: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + STORY_WITHIN_S
        while not holds() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        return holds()
