"""Without a Kafka client: a 7 in, its detection out, a contact in, a 9 in, the conversion out."""

from __future__ import annotations

import json
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from schemas.events import PASSIVE_DETECTED, SCORE_CHANGED
from streams.broker import Broker, free_port
from tests.intake.serving import TOKEN
from tests.support.worker import WorkerProcess, worker_environment
from tests.webhooks.events import WebhooksProcess, environment, write_config
from tests.webhooks.receiver import SECRET, receiving

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_a_seven_is_found_contacted_and_converted(broker: Broker, unique: str, tmp_path: Path) -> None:
    servers, prefix = broker.bootstrap_servers, f"{unique}."
    worker = WorkerProcess(
        worker_environment(servers, prefix, unique, free_port(), tmp_path / "state", 2), tmp_path / "worker.log"
    )
    port = free_port()
    intake = WorkerProcess(
        {
            "NPS_BOOTSTRAP_SERVERS": servers,
            "NPS_TOPIC_PREFIX": prefix,
            "NPS_HTTP_PORT": str(port),
            "NPS_INTAKE_TOKENS": TOKEN,
        },
        tmp_path / "intake.log",
        ("streams.cli", "intake"),
    )

    def post(path: str, record: dict[str, Any]) -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}",
            json.dumps(record).encode(),
            {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 202

    now = datetime.now(UTC)
    answer = {"customer_id": "c-1", "survey_id": "relationship"}
    first = {**answer, "response_id": "r-1", "score": 7, "segments": {"country": "NO"}}
    with receiving() as receiver, worker:
        worker.wait_ready()
        config = write_config(tmp_path, {"crm": receiver.url()}, 'segments = { country = ["NO"] }')
        webhooks = WebhooksProcess(environment(servers, prefix, free_port(), config), tmp_path / "webhooks.log")
        with intake, webhooks:
            intake.wait_ready()
            webhooks.wait_ready()
            earlier = (now - timedelta(days=2)).isoformat()
            post("/v1/responses", {**first, "responded_at": earlier})
            (detected,) = receiver.wait_for(1)
            parsed = Webhook(SECRET).verify(detected.body, detected.headers)
            assert (parsed["type"], parsed["data"]["score"]) == (PASSIVE_DETECTED, 7)

            contact = {
                "follow_up_id": "f-1",
                "customer_id": "c-1",
                "survey_id": "relationship",
                "detected_event_id": parsed["data"]["event_id"],
                "status": "contacted",
                "action": "tailored_offer",
                "reason": "value_for_price",
                "occurred_at": (now - timedelta(days=1)).isoformat(),
            }
            post("/v1/follow-ups", contact)
            follow_ups = "nps_follow_ups_total", (("outcome", "matched"),)
            deadline = time.monotonic() + 30
            while worker.metrics()[follow_ups] < 1:
                assert time.monotonic() < deadline, worker.last_words()
                time.sleep(0.1)

            # It names no country, and whoever heard of the detection hears of its end.
            post("/v1/responses", {**answer, "response_id": "r-2", "score": 9, "responded_at": now.isoformat()})
            converted = receiver.wait_for(2)[1]
            changed = Webhook(SECRET).verify(converted.body, converted.headers)
            data = changed["data"]
            assert (changed["type"], data["change"]) == (SCORE_CHANGED, "passive_to_promoter")
            assert data["detected_event_id"] == parsed["data"]["event_id"]
            assert (data["follow_up_id"], data["follow_up_action"]) == ("f-1", "tailored_offer")
            assert data["reason"] == "value_for_price"
