"""Webhooks and intake through a Kafka that does not answer, is restarted, and is gone when they are told to stop."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from streams.broker import Broker, free_port
from tests.intake.serving import TOKEN, lines, response
from tests.intake.test_end_to_end import post
from tests.support.worker import WorkerProcess
from tests.webhooks.events import Publisher, WebhooksProcess, create_topics, environment, write_config
from tests.webhooks.receiver import receiving

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

CUSTOMERS = [f"c{number}" for number in range(8)]


def test_nothing_is_lost_and_nothing_accepted_that_is_not_there(fresh_broker: Broker, tmp_path: Path) -> None:
    servers, port = fresh_broker.bootstrap_servers, str(free_port())
    create_topics(servers, "nps.", partitions=1)
    publisher = Publisher(servers, "nps.")
    with receiving() as receiver:
        config = write_config(tmp_path, {"crm": receiver.url()})
        settings = environment(servers, "nps.", free_port(), config)
        own = {"NPS_BOOTSTRAP_SERVERS": servers, "NPS_HTTP_PORT": port, "NPS_INTAKE_TOKENS": TOKEN}
        with (
            WebhooksProcess(settings, tmp_path / "webhooks.log") as webhooks,
            WorkerProcess(own, tmp_path / "intake.log", ("streams.cli", "intake")) as intake,
        ):
            webhooks.wait_ready()
            intake.wait_ready()
            publisher.send_all(CUSTOMERS, 2)
            receiver.wait_for(16)

            fresh_broker.pause()
            try:
                status, problem = post(port, lines(response()))
            finally:
                fresh_broker.resume()
            assert status == 503, problem
            assert post(port, lines(response()))[0] == 202, "the same body again"

            fresh_broker.restart()
            publisher.send_all(CUSTOMERS, 2)
            receiver.wait_for(32, timeout_s=60)
            assert post(port, lines(response()))[0] == 202

            fresh_broker.stop()
            for process in (webhooks, intake):
                began = time.monotonic()
                process.sigterm(10)
                assert time.monotonic() - began < 10
                assert "Traceback" not in process.log()
