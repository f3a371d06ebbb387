"""Events as a worker writes them, and the process that delivers them."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.events import EVENT_TYPES, PASSIVE_DETECTED, cloud_event_headers
from schemas.intake import DOORS
from schemas.topics import Topics
from tests.support.worker import WorkerProcess
from tests.webhooks.receiver import OTHER_SECRET, SECRET

PARTITIONS = 3
TOPIC_OF = dict(zip(EVENT_TYPES, Topics("").events, strict=False))
"""Event's type → topic, without the prefix."""


def create_topics(bootstrap_servers: str, prefix: str, partitions: int = PARTITIONS) -> None:
    topics = Topics(prefix)
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    names = [*{door.topic(topics) for door in DOORS}, *topics.events]
    for created in admin.create_topics([NewTopic(name, partitions, 1) for name in names]).values():
        created.result(30)


class Publisher:
    """Writes events."""

    def __init__(self, bootstrap_servers: str, prefix: str) -> None:
        self._prefix = prefix
        self._producer = Producer({"bootstrap.servers": bootstrap_servers, "partitioner": "murmur2_random"})

    def send(self, customer: str, number: int = 0, event_type: str = PASSIVE_DETECTED, **more: Any) -> str:
        """Write one event; `flush` after it. Returns its id."""
        id_ = str(uuid.uuid4())
        data = {
            "event_id": id_,
            "customer_id": customer,
            "survey_id": "s",
            "number": number,
            "comment": "x" * 400,
            **more,
        }
        headers = dict(cloud_event_headers(event_type, id_, "/nps", time.time_ns() // 1000, customer, 0))
        del headers["ce_sequence"]  # as an older release wrote them, to be taken in the order of time
        self._producer.produce(
            self._prefix + TOPIC_OF[event_type],
            json.dumps(data).encode(),
            customer.encode(),
            headers=list(headers.items()),
        )
        self._producer.poll(0)
        return id_

    def send_all(self, customers: Iterable[str], each: int) -> set[str]:
        """Write so many events of each customer, numbered from 0, customers mixed, and wait until they are there."""
        customers = list(customers)
        ids = {self.send(customer, number) for number in range(each) for customer in customers}
        self.flush()
        return ids

    def flush(self) -> None:
        assert self._producer.flush(30) == 0


class WebhooksProcess(WorkerProcess):
    """`nps webhooks run`, or what `module` makes of `nps`."""

    def __init__(self, environment: Mapping[str, str], log_file: Path, module: str = "streams.cli") -> None:
        super().__init__(environment, log_file, (module, "webhooks", "run"))

    def delivered(self, endpoint: str, result: str = "delivered") -> float:
        return self.metrics()["nps_webhook_deliveries_total", (("endpoint", endpoint), ("result", result))]


def write_config(folder: Path, endpoints: Mapping[str, str], more: str = "") -> Path:
    """A file of endpoints by name and address, with one secret, in `SECRET`; `more` is put into every table."""
    text = "".join(
        f'[endpoints.{name}]\nurl = "{url}"\nsecrets = ["env:SECRET"]\nstart = "beginning"\n{more}\n'
        for name, url in endpoints.items()
    )
    path = folder / "webhooks.toml"
    path.write_text(text)
    return path


def environment(bootstrap_servers: str, prefix: str, port: int, config: Path, **settings: str) -> dict[str, str]:
    return {
        "NPS_BOOTSTRAP_SERVERS": bootstrap_servers,
        "NPS_TOPIC_PREFIX": prefix,
        "NPS_GROUP_ID": prefix.rstrip("."),
        "NPS_HTTP_PORT": str(port),
        "NPS_WEBHOOKS_FILE": str(config),
        "NPS_WEBHOOKS_PRIVATE_HOSTS": "127.0.0.1,localhost",
        "NPS_WEBHOOKS_RETRY_FIRST_S": "0.05",
        "NPS_WEBHOOKS_RETRY_LONGEST_S": "0.2",
        "NPS_SESSION_TIMEOUT_MS": "2000",
        "SECRET": SECRET,
        "OTHER_SECRET": OTHER_SECRET,
        **{f"NPS_{name.upper()}": value for name, value in settings.items()},
    }
