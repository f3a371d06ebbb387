"""What the tests with a real Kafka and a real receiver share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.broker import Broker
from tests.webhooks.events import Publisher, create_topics
from tests.webhooks.receiver import Receiver, receiving
from tests.webhooks.scene import Scene


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def scene(broker: Broker, unique_prefix: str, receiver: Receiver, tmp_path: Path) -> Scene:
    create_topics(broker.bootstrap_servers, unique_prefix)
    return Scene(broker, unique_prefix, receiver, tmp_path, Publisher(broker.bootstrap_servers, unique_prefix))
