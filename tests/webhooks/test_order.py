"""Events of real workers, through real webhooks: each customer's in the order in which they were decided."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import pytest

from schemas.events import FOLLOW_UP_OVERDUE, PASSIVE_DETECTED, SCORE_CHANGED
from streams.broker import Broker, free_port
from tests.support.corpus import Produced
from tests.support.oracle_reading import partition_of
from tests.support.stage import PARTITIONS, Stage, stage_for
from tests.webhooks.events import WebhooksProcess, environment, write_config
from tests.webhooks.receiver import Receiver

CUSTOMERS = 400
STORY = [PASSIVE_DETECTED, SCORE_CHANGED, PASSIVE_DETECTED, FOLLOW_UP_OVERDUE]
"""A 7, a 9, an 8; and all of it so long ago that the second case is overdue when it opens."""


@pytest.fixture
def stage(broker: Broker, unique: str, tmp_path: Path) -> Stage:
    stage = stage_for(broker.bootstrap_servers, unique, tmp_path)
    stage.settings["follow_up_sla_hours"] = "1"
    stage.settings["event_max_age_days"] = "30"
    return stage


def answers() -> list[Produced]:
    """Of all customers together, so that each one's lie in one unit of work and most events of it between them."""
    now_ms = time.time_ns() // 1_000_000
    made = []
    for number, score in enumerate((7, 9, 8)):
        at_ms = now_ms - 5 * 86_400_000 + number * 60_000
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_ms / 1000))
        for customer in range(CUSTOMERS):
            value = {
                "response_id": f"r-{number}-{customer}",
                "customer_id": f"c-{customer}",
                "survey_id": "s",
                "score": score,
                "responded_at": at,
            }
            key = f"c-{customer}".encode()
            made.append(Produced(partition_of(key, PARTITIONS), key, json.dumps(value).encode(), at_ms))
    return made


def webhooks(stage: Stage, receiver: Receiver, path: str, tmp_path: Path) -> WebhooksProcess:
    config = write_config(tmp_path, {"crm": receiver.url(path)}, "concurrency = 16")
    settings = environment(stage.bootstrap_servers, stage.topics.prefix, free_port(), config)
    return WebhooksProcess(settings, tmp_path / "webhooks.log")


@pytest.mark.parametrize("when", ["at once", "afterwards"])
def test_what_was_decided_in_one_transaction_comes_in_order(
    stage: Stage, receiver: Receiver, unique: str, tmp_path: Path, when: str
) -> None:
    stage.create_topics()
    path = f"/{unique}"
    with ExitStack() as stack:
        worker = stack.enter_context(stage.worker())
        worker.wait_ready()
        process = webhooks(stage, receiver, path, tmp_path)
        if when == "at once":
            stack.enter_context(process).wait_ready()
        stage.publish(answers())
        stage.wait_until_done(worker)
        if when == "afterwards":
            stack.enter_context(process)
        came = receiver.wait_for(len(STORY) * CUSTOMERS, path)
    found = defaultdict(list)
    for request in came:
        parsed = json.loads(request.body)
        found[parsed["data"]["customer_id"]].append(parsed["type"])
    assert len(found) == CUSTOMERS
    wrong = {customer: types for customer, types in found.items() if types != STORY}
    assert not wrong, f"{len(wrong)} customers, such as {next(iter(wrong.items()))}"
