"""A walk through the runbook with a real Prometheus: what alerts are about is caused, they fire under the deployed
rules, what their pages say to look at shows the cause, and the cure ends it.

Conditions are those that are deployed. Only how long one must hold, and how long an alert goes on afterwards, is a
second here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from streams.broker import Broker
from tests.support.corpus import Produced
from tests.support.prometheus_binaries import Binaries
from tests.support.prometheus_server import RULES, PrometheusServer, scraping
from tests.support.stage import stage_for, within

pytestmark = pytest.mark.kafka
PARTITIONS = 2
CUSTOMERS = (b"c-2", b"c-1")  # of partition 0 and of partition 1, of 2
HOLDS_S = 1.0


def hastened(rules: Iterable[Path], directory: Path) -> list[Path]:
    """The same rules, evaluated each half second, whose alerts need to hold for `HOLDS_S` and end at once."""
    directory.mkdir()
    written = []
    for path in rules:
        content: dict[str, Any] = yaml.safe_load(path.read_text())
        for group in content["groups"]:
            group["interval"] = "500ms"
            for rule in group["rules"]:
                rule.pop("keep_firing_for", None)
                if "for" in rule:
                    rule["for"] = f"{HOLDS_S:g}s"
        written.append(directory / path.name)
        written[-1].write_text(yaml.safe_dump(content, sort_keys=False))
    return written


def responses(first: int, count: int, *, score: int = 8) -> Iterator[Produced]:
    """So many for each of the partitions."""
    for number in range(first, first + count):
        for partition, customer in enumerate(CUSTOMERS):
            value = {
                "response_id": f"r-{partition}-{number}",
                "customer_id": customer.decode(),
                "survey_id": "s",
                "score": score,
                "responded_at": datetime.now(UTC).isoformat(),
            }
            yield Produced(partition, customer, json.dumps(value).encode(), time.time_ns() // 1_000_000)


def follow_ups_of_nobody(count: int) -> Iterator[Produced]:
    """So many for each of the partitions, about a survey that nobody has answered."""
    for number in range(count):
        for partition, customer in enumerate(CUSTOMERS):
            value = {
                "follow_up_id": f"f-{partition}-{number}",
                "customer_id": customer.decode(),
                "survey_id": "of-another-system",
                "status": "contacted",
                "action": "other",
                "occurred_at": datetime.now(UTC).isoformat(),
            }
            yield Produced(partition, customer, json.dumps(value).encode(), time.time_ns() // 1_000_000)


def configure(bootstrap_servers: str, topic: str, name: str, value: str | None) -> None:
    """Set one of a topic's settings, or (None) let it be the broker's again."""
    operation = AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
    entry = ConfigEntry(name, value, incremental_operation=operation)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})  # its answers come for as long as it lives
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(10)


def test_alerts_fire_when_their_cause_is_there_and_end_with_it(
    prometheus: Binaries, broker: Broker, unique: str, tmp_path: Path
) -> None:
    stage = stage_for(broker.bootstrap_servers, unique, tmp_path, partitions=PARTITIONS)
    one, two = (stage.worker(name, session_timeout_ms="3000") for name in ("one", "two"))
    targets = [f"127.0.0.1:{worker.environment['NPS_HTTP_PORT']}" for worker in (one, two)]
    config = scraping(targets, rule_files=hastened(RULES, tmp_path / "rules"), interval_s=0.5)

    with PrometheusServer(tmp_path / "prometheus", config) as server, one, two:

        def firing() -> set[str]:
            return {alert["labels"]["alertname"] for alert in server.alerts() if alert["state"] == "firing"}

        def fires(name: str) -> None:
            within(30, lambda: expect(name in firing(), f"{name} does not fire: {firing()}"))

        def ends(name: str) -> None:
            within(30, lambda: expect(name not in firing(), f"{name} goes on"))

        def committed() -> None:
            stage.wait_until_done(one, two, timeout_s=30)

        one.wait_ready()
        two.wait_ready()
        server.wait_scraped(2)
        stage.publish(responses(0, 5))
        committed()
        within(30, lambda: expect(firing() == set(), f"all is well, and these fire: {firing()}"))

        # NpsCommitsFailing: an internal topic takes no record of the size that is written.
        configure(stage.bootstrap_servers, stage.topics.journeys, "max.message.bytes", "80")
        stage.publish(responses(5, 5))
        fires("NpsCommitsFailing")
        said = one.log_file.read_text() + two.log_file.read_text()
        assert "opening it again in" in said
        assert "MessageSizeTooLarge" in said, "the line has the error"
        configure(stage.bootstrap_servers, stage.topics.journeys, "max.message.bytes", None)
        committed()  # by itself, once Kafka is mended

        # NpsFollowUpsDeadLetterRate: a CRM that names surveys otherwise. Responses are as good as before.
        stage.follow_up(follow_ups_of_nobody(12))
        fires("NpsFollowUpsDeadLetterRate")
        outcomes = server.values("sum by (outcome) (nps_follow_ups_total) > 0", "outcome")
        assert outcomes == {("unknown_case",): 24}
        assert "NpsDeadLetterRate" not in firing()

        # NpsDeadLetterRate: a release of a publisher that sends scores of 11.
        stage.publish(responses(10, 10, score=11))
        fires("NpsDeadLetterRate")
        assert server.values('sum by (outcome) (nps_responses_total{outcome="dead_letter"})', "outcome") == {
            ("dead_letter",): 20
        }
        reasons = server.values("sum by (reason) (nps_dead_letters_total) > 0", "reason")
        assert reasons == {("invalid_response",): 20, ("unknown_case",): 24}

        # NpsWorkerDown: one is killed. The other takes over what was its own, and nothing waits.
        two.sigkill()
        fires("NpsWorkerDown")
        assert "NpsNoWorker" not in firing()
        assert server.values("up == 0", "instance") == {(targets[1],): 0}, "which one"
        stage.publish(responses(20, 5))
        stage.wait_until_done(one, timeout_s=30)

        # NpsNoWorker: so is the other. Responses wait in Kafka.
        one.sigkill()
        fires("NpsNoWorker")
        stage.publish(responses(25, 5))

        # NpsWorkerDown again: with a setting that is wrong it ends, and its last line names it.
        right = two.environment["NPS_STATE_DIR"]
        two.environment["NPS_STATE_DIR"] = "/dev/null/state"
        two.start()
        within(30, lambda: expect(not two.running, "it goes on"))
        assert "NPS_STATE_DIR" in two.log_file.read_text().splitlines()[-1]
        two.environment["NPS_STATE_DIR"] = right

        one.start()
        two.start()
        ends("NpsNoWorker")
        ends("NpsWorkerDown")
        committed()
        lasting = {"NpsCommitsFailing", "NpsDeadLetterRate", "NpsFollowUpsDeadLetterRate"}  # of more than a minute
        within(30, lambda: expect(firing() <= lasting, f"still firing: {firing()}"))


def expect(holds: bool, otherwise: str) -> None:
    assert holds, otherwise
