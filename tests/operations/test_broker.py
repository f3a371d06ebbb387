"""The development broker: works, is reachable from this machine only, keeps its data, never outlives its starter."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.broker import Broker, BrokerError, RunningBroker, find_broker, free_port, stop_broker

ROOT = Path(__file__).resolve().parents[2]


async def create_topic(bootstrap_servers: str, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    await admin.close()


async def read(bootstrap_servers: str, topic: str, count: int) -> list[bytes]:
    """Return the first `count` committed values of the topic's only partition."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek(partition, 0)
        async with asyncio.timeout(20):
            return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


async def test_a_committed_transaction_is_read_and_an_aborted_one_is_not(broker: Broker, unique: str) -> None:
    await create_topic(broker.bootstrap_servers, unique)
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, transactional_id=unique) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(unique, b"aborted", partition=0)
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(unique, b"committed", partition=0)
    assert await read(broker.bootstrap_servers, unique, 1) == [b"committed"]


def test_listens_on_loopback_only(broker: Broker) -> None:
    listening = {
        connection.laddr
        for connection in psutil.Process(broker.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {address.port for address in listening} == {broker.port, broker.controller_port}
    # A dual-stack Java socket shows an IPv4 address in its IPv6 form.
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


async def test_keeps_its_data_and_its_address_when_killed_and_when_restarted(fresh_broker: Broker, unique: str) -> None:
    address = fresh_broker.bootstrap_servers
    await create_topic(address, unique)
    async with AIOKafkaProducer(bootstrap_servers=address) as producer:
        await producer.send_and_wait(unique, b"before", partition=0)
    fresh_broker.kill()
    with pytest.raises(BrokerError, match="does not run"):
        _ = fresh_broker.pid
    # Another object on the same directory finds the ports by itself.
    fresh_broker.start()
    fresh_broker.stop()
    with Broker(fresh_broker.data_dir, short_lived=True) as again:
        assert again.bootstrap_servers == address
        assert await read(address, unique, 1) == [b"before"]


async def test_a_paused_broker_answers_nothing_until_it_is_resumed(fresh_broker: Broker, unique: str) -> None:
    await create_topic(fresh_broker.bootstrap_servers, unique)
    async with AIOKafkaProducer(bootstrap_servers=fresh_broker.bootstrap_servers) as producer:
        await producer.send_and_wait(unique, b"warm", partition=0)
        fresh_broker.pause()
        sending = asyncio.ensure_future(producer.send_and_wait(unique, b"waits", partition=0))
        done, _ = await asyncio.wait([sending], timeout=1)
        assert not done
        fresh_broker.resume()
        async with asyncio.timeout(20):
            await sending


@pytest.mark.kafka
@pytest.mark.usefixtures("needs_broker")
@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
def test_does_not_outlive_a_killed_starter(tmp_path: Path, paused: bool) -> None:
    program = (
        "import sys, time, pathlib; from streams.broker import Broker\n"
        "broker = Broker(pathlib.Path(sys.argv[1])); broker.start()\n"
        f"{'broker.pause()' if paused else ''}\n"
        "print(broker.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT) as starter:
        assert starter.stdout is not None
        java = psutil.Process(int(starter.stdout.readline()))
        starter.kill()
    java.wait(timeout=10)
    assert not java.is_running()


@pytest.mark.kafka
@pytest.mark.usefixtures("needs_broker")
def test_a_detached_broker_lives_on_and_is_found_and_stopped_by_its_directory(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from streams.broker import Broker\n"
        "Broker(pathlib.Path(sys.argv[1]), detached=True).start()"
    )
    try:
        subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, cwd=ROOT, timeout=90)
        found = find_broker(tmp_path)
        assert found is not None
        assert found.kafka_version == "4.1.1"
        assert 0 < time.time() - found.started_at_s < 60
        with pytest.raises(BrokerError, match=f"already: pid {found.pid}"):
            Broker(tmp_path).start()
    finally:
        stopped = stop_broker(tmp_path)
    assert stopped == found
    assert not psutil.pid_exists(found.pid) or psutil.Process(found.pid).status() == psutil.STATUS_ZOMBIE
    assert find_broker(tmp_path) is None


@pytest.mark.kafka
@pytest.mark.usefixtures("needs_broker")
def test_the_command_starts_reports_and_stops_it(tmp_path: Path) -> None:
    port = free_port()

    def nps_broker(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "streams.cli", "broker", *arguments, "--data-dir", str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=90,
            cwd=ROOT,
        )

    assert nps_broker("status").returncode == 1
    try:
        started = nps_broker("start", "--port", str(port))
        assert (started.returncode, started.stdout) == (0, "")
        assert f"127.0.0.1:{port}" in started.stderr
        status = json.loads(nps_broker("status", "--json").stdout)
        assert status["running"] is True
        assert status["bootstrap_servers"] == f"127.0.0.1:{port}"
        assert status["kafka_version"] == "4.1.1"
        assert psutil.pid_exists(status["pid"])
        assert nps_broker("start", "--port", str(port)).returncode == 0  # as asked for already
        other_port = nps_broker("start", "--port", str(port + 1))
        assert other_port.returncode == 1
        assert f"127.0.0.1:{port}: nps broker stop --data-dir {tmp_path} ends it" in other_port.stderr
    finally:
        assert nps_broker("stop").returncode == 0
    assert json.loads(nps_broker("status", "--json").stdout) == {"running": False}


def test_a_pid_that_belongs_to_something_else_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as stranger:
        try:
            left_behind = RunningBroker(stranger.pid, "127.0.0.1:1", "4.1.1", started_at_s=0)
            (tmp_path / "broker.json").write_text(json.dumps(asdict(left_behind)))
            assert find_broker(tmp_path) is None
            assert stop_broker(tmp_path) is None
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_refuses_a_port_that_is_taken(broker: Broker, tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=f"listens on 127.0.0.1:{broker.port} already"):
        Broker(tmp_path, port=broker.port).start()


@pytest.mark.usefixtures("needs_broker")
def test_a_data_directory_that_cannot_be_one_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for data_dir in (tmp_path / "file" / "below", Path("/sys/nps")):
        with pytest.raises(BrokerError, match=rf"{data_dir} cannot be used \(.*\): .* --data-dir"):
            Broker(data_dir).start()


def test_says_why_when_it_cannot_start(needs_broker: None, tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"broker\.log"):
        Broker(tmp_path, extra_properties={"log.retention.hours": "many"}).start()


def test_free_ports_are_outside_the_range_of_outgoing_connections() -> None:
    assert 20_000 <= free_port() < 32_000
