"""Topics that change under a worker: it must stop and say what happened. Each time with topics and a group of their
own, beside the load, since they do not survive it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

from tests.faults.faults_scene import ENDS_WITHIN_S, Scene, assert_refused
from tests.support.corpus import corpus
from tests.support.stage import stage_for

PARTITIONS = 2
RESPONSES = 500
KAFKA_TIMEOUT_S = 20.0


@contextmanager
def topic_deleted(scene: Scene, topic: str) -> Iterator[None]:
    with _changed(scene, topic, lambda admin, name: admin.delete_topics([name], operation_timeout=KAFKA_TIMEOUT_S)):
        yield


@contextmanager
def partitions_added(scene: Scene, topic: str) -> Iterator[None]:
    with _changed(scene, topic, lambda admin, name: admin.create_partitions([NewPartitions(name, PARTITIONS + 1)])):
        yield


@contextmanager
def _changed(
    scene: Scene, topic: str, change: Callable[[AdminClient, str], Mapping[str, Future[Any]]]
) -> Iterator[None]:
    unique = f"small-{uuid.uuid4().hex[:8]}"
    stage = stage_for(scene.broker.bootstrap_servers, unique, scene.stage.directory, partitions=PARTITIONS)
    name = getattr(stage.topics, topic)
    stage.create_topics()
    stage.publish(corpus(scene.plan.seed, RESPONSES, time.time_ns() // 1_000_000, "tables", PARTITIONS))
    with stage.worker(unique) as worker:
        scene.until(lambda: worker.status("/readyz") == 200, 60.0, "the worker of the small stage is ready")
        scene.began()
        admin = AdminClient({"bootstrap.servers": stage.bootstrap_servers})
        change(admin, name)[name].result(KAFKA_TIMEOUT_S)
        scene.until(lambda: not worker.running, ENDS_WITHIN_S, f"a worker ends whose topic {name} has changed")
        assert_refused(worker, worker.log(), name)
    yield


TOPIC_KINDS: dict[str, Callable[..., AbstractContextManager[None]]] = {
    "topic_deleted": topic_deleted,
    "partitions_added": partitions_added,
}
