"""What `nps webhooks run` reads: damaged records, foreign ones, and none for days."""

from __future__ import annotations

import pytest

from tests.webhooks.scene import Scene, numbers, until

pytestmark = pytest.mark.kafka

CUSTOMERS = [f"c{number}" for number in range(8)]


def test_what_came_along_with_damaged_records_is_not_lost(scene: Scene) -> None:
    scene.publisher.send_all(CUSTOMERS, 5)
    with scene.process("crm", module="tests.webhooks.torn_webhooks") as process:
        came = scene.receiver.wait_for(5 * len(CUSTOMERS), scene.path("crm"))
        until(lambda: scene.lag("crm") == 0)
        assert "Kafka cannot be read" in process.log()
    assert numbers(came) == {customer: list(range(5)) for customer in CUSTOMERS}
