"""Commands that publish when the broker goes away: they wait without a burden, end, and say how far they came."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import psutil
import pytest
from aiokafka import TopicPartition

from schemas.topics import Topics
from streams.broker import Broker
from streams.cli import kafka
from streams.cli.console import Failure
from streams.engine.topics import ensure_topics, reach_broker
from streams.settings import Settings
from tests.support.kafka_reading import read_records

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

CPU_SHARE = 0.4
"""Of one core, and of each command, while it waits: one that does not pause takes all it can get."""
LOOK_AFTER_S = 1.0
LOOK_FOR_S = 5.0
ACKNOWLEDGED_WITHIN_S = 12
GIVES_UP_WITHIN_S = 60.0
IMPATIENT_NPS = (
    sys.executable,
    "-c",
    "from streams.cli import main, sending\n"
    f"sending.ACKNOWLEDGED_WITHIN_S = {ACKNOWLEDGED_WITHIN_S}  # not 30: the test is shorter by that\n"
    "main()",
)


def answers(first: int, count: int) -> str:
    now = datetime.now(UTC).isoformat()
    rows = ({"response_id": f"r-{number}", "customer_id": f"c-{number}"} for number in range(first, first + count))
    return "".join(json.dumps(row | {"survey_id": "s", "score": 8, "responded_at": now}) + "\n" for row in rows)


@pytest.mark.parametrize("go_away", [Broker.stop, Broker.kill], ids=["stopped", "killed"])
def test_waits_quietly_then_says_how_far_it_came(fresh_broker: Broker, go_away: Callable[[Broker], None]) -> None:
    """One that is stopped says that it has no leader any more; of one that is killed nobody says anything."""
    environment = {**os.environ, "NPS_BOOTSTRAP_SERVERS": fresh_broker.bootstrap_servers, "NPS_PARTITIONS": "3"}

    def started(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*IMPATIENT_NPS, *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    assert started("topics", "--create").communicate(timeout=60)[1] == ""
    commands = [started("publish", "-"), started("simulate", "--rate", "200")]
    try:
        publish = commands[0].stdin
        assert publish is not None
        publish.write(answers(0, 100))
        publish.flush()
        deadline = time.monotonic() + 60
        while len(list(read_records(fresh_broker.bootstrap_servers, "nps.responses"))) < 300:
            assert time.monotonic() < deadline, "they do not publish"
            time.sleep(0.2)
        go_away(fresh_broker)
        publish.write(answers(100, 60))
        publish.flush()
        time.sleep(LOOK_AFTER_S)
        before_s = [cpu_s(command) for command in commands]
        time.sleep(LOOK_FOR_S)
        spent_s = [cpu_s(command) - before for command, before in zip(commands, before_s, strict=True)]
        assert max(spent_s) < CPU_SHARE * LOOK_FOR_S
        said = [command.communicate(timeout=GIVES_UP_WITHIN_S)[1] for command in commands]
    finally:
        for command in commands:
            command.kill()
            command.wait()
    assert [command.returncode for command in commands] == [1, 1]
    assert re.fullmatch(
        r"nps: Kafka stopped taking responses \(\w+\) after 100 responses of the file; publish it again: .*\n", said[0]
    )
    found = re.fullmatch(
        r"nps: Kafka stopped answering \(\w+\): of ([\d,]+) records sent it has acknowledged ([\d,]+)\n", said[1]
    )
    assert found is not None, said[1]
    sent, acknowledged = (int(number.replace(",", "")) for number in found.groups())
    assert 200 <= acknowledged < sent


def test_what_went_wrong_is_told_and_not_how_the_client_was_stopped(fresh_broker: Broker) -> None:
    """Also where fetches wait to be tried again: stopping them looks as if this had been cancelled."""
    settings = Settings(bootstrap_servers=fresh_broker.bootstrap_servers)

    async def read() -> None:
        admin = await reach_broker(settings.kafka(), 30)
        await ensure_topics(admin, Topics(), 1, 1, create=True)
        await admin.close()
        async with kafka.connected(settings, kafka.consumer(settings)) as consumer:
            consumer.assign([TopicPartition(Topics().responses, 0)])
            await consumer.getmany(timeout_ms=200)
            await asyncio.to_thread(fresh_broker.kill)
            await consumer.getmany(timeout_ms=1_000)
            raise Failure("nothing arrived")

    for _ in range(2):
        with pytest.raises(Failure, match="nothing arrived"):
            asyncio.run(read())
        fresh_broker.start()

    # And a copy that has no coordinator to commit to any more is stopped.
    own = {"BOOTSTRAP_SERVERS": fresh_broker.bootstrap_servers, "TOPIC_PREFIX": "copy.", "PARTITIONS": "2"}
    environment = {**os.environ, **{f"NPS_{name}": value for name, value in own.items()}}
    nps = (sys.executable, "-m", "streams.cli")
    subprocess.run([*nps, "topics", "--create"], env=environment, check=True, stdout=subprocess.DEVNULL)
    copying = subprocess.Popen(
        [*nps, "repartition", "--from-prefix", "nps.", "--follow"], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        time.sleep(4)
        assert copying.poll() is None
        fresh_broker.kill()
        time.sleep(1)
        copying.send_signal(signal.SIGINT)
        assert "Traceback" not in copying.communicate(timeout=30)[1]
    finally:
        copying.kill()
        copying.wait()


def cpu_s(command: subprocess.Popen[str]) -> float:
    times = psutil.Process(command.pid).cpu_times()
    return times.user + times.system
