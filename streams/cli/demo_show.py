"""The course of the demonstration: start everything, feed it, show it, compare in the end, stop everything."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rich.live import Live

from schemas.events import PASSIVE_DETECTED, SCORE_CHANGED
from schemas.times import US_PER_DAY, US_PER_HOUR
from schemas.topics import Topics
from streams.broker import Broker, free_port
from streams.broker_address import HOST
from streams.cli import kafka
from streams.cli.console import say, stdout
from streams.cli.demo_check import Check, checks
from streams.cli.demo_crm import KARI, Story
from streams.cli.demo_observed import Observer
from streams.cli.demo_view import Stage, facts, newest, plain_line, scores, view
from streams.cli.demo_worker import WorkerProcess
from streams.cli.simulated_crm import Crm
from streams.cli.simulated_feed import KafkaSink, at_speed, feed
from streams.cli.stopping import STOP_SIGNALS, interruptible, stop_on_signals
from streams.settings import ENV_PREFIX, Settings
from streams.simulation import OFFICE_HOURS, STEADY, Life

CUSTOMERS = 12_000
HISTORY_DAYS = 84
"""Short of the longest window, so that every response is in it."""
HISTORY_ANSWERS = 30_000
LIVE_PER_SECOND = 50
"""Of our seconds: a table that moves, and a person can still follow."""
HISTORY_SLICE_US = 7 * US_PER_DAY
"""What the CRM does follows what was detected, week by week."""
SLA_HOURS = 1_990
"""The wall clock cannot be sped up: of the history, only what is older than some 83 days can be overdue."""
SHORTEST_HOUR_S = 5.0
REFRESH_S = 0.5
LOOK_S = 1.0
PLAIN_EVERY_S = 5.0
CATCH_UP_WITHIN_S = 60.0
WIDTH_IF_PLAIN = 120


class Options(NamedTuple):
    """As the command line has them."""

    seconds: int
    seed: int
    partitions: int
    port: int | None
    plain: bool


def run(options: Options) -> bool:
    """Play it; tells whether everything published was counted, or that it was stopped before that was due.

    Raises:
        Failure: something could not be started, or the worker ended.
        BrokerError: Kafka could not be started.
    """
    for name in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
        del os.environ[name]  # a demonstration of its own, whatever the environment is set up for
    try:
        with interruptible(), tempfile.TemporaryDirectory(prefix="nps-demo-", ignore_cleanup_errors=True) as folder:
            broker = Broker(Path(folder) / "broker", short_lived=True)
            say("Starting Apache Kafka …")
            try:
                broker.start()
                return asyncio.run(_Show(options, Path(folder), broker).play())
            finally:
                _ignore_signals()
                broker.stop()
    except KeyboardInterrupt:
        say("Stopped.")
        return True


def _ignore_signals() -> None:
    """While cleaning up, which takes seconds at most, nothing may cut it short."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class _Show:
    """One performance."""

    def __init__(self, options: Options, folder: Path, broker: Broker) -> None:
        self._options = options
        port = options.port or free_port()
        url = f"http://{HOST}:{port}"
        own = {
            "bootstrap_servers": broker.bootstrap_servers,
            "partitions": str(options.partitions),
            "state_dir": str(folder / "state"),
            "http_port": str(port),
            "follow_up_sla_hours": str(SLA_HOURS),
        }
        self._settings = Settings.model_validate(own)
        environment = {ENV_PREFIX + name.upper(): value for name, value in own.items()}
        self._worker = WorkerProcess(environment, folder / "worker.log", url)
        self._url = url
        self._observer = Observer(url)
        self._life = Life(options.seed, CUSTOMERS)
        links = {
            "scores": f"{url}/v1/scores",
            "metrics": f"{url}/metrics",
            "Kafka": broker.bootstrap_servers,
        }
        self._stage = Stage("Starting", links)
        self._console = stdout()
        self._started = time.monotonic()

    async def play(self) -> bool:
        """From the worker's start to its end."""
        with stop_on_signals() as stop:
            async with self._worker:
                say("Starting a worker …")
                await self._worker.ready(stop)
                for name, link in self._stage.links.items():
                    say(f"  {name:<8} {link}")
                self._started = time.monotonic()
                sender = kafka.producer(self._settings)
                async with kafka.connected(self._settings, sender):
                    topics = Topics(self._settings.topic_prefix)
                    sink = KafkaSink(sender, topics.responses)
                    crm = Crm(sender, topics.follow_ups, self._life, self._options.seed)
                    story = Story(self._url, sink, crm, lambda: self._observer.seen.followed_up)
                    self._observer.on_event += [story.event, lambda kind, data: _tell(crm, kind, data)]
                    async with self._watched(sink):
                        await self._unless_worker_ends(story.tell(PASSIVE_DETECTED, SCORE_CHANGED))
                        await self._unless_worker_ends(self._feed(sink, crm, stop))
                        if not stop.is_set():
                            await self._unless_worker_ends(self._catch_up(sink, crm, stop))
                return self._conclude(sink, crm, story, interrupted=stop.is_set())

    async def _feed(self, sink: KafkaSink, crm: Crm, stop: asyncio.Event) -> None:
        """Twelve weeks as fast as they go, then the hour that ends now at the speed that fills the time left."""
        hour_us = time.time_ns() // 1_000 - US_PER_HOUR
        start_us = hour_us - HISTORY_DAYS * US_PER_DAY
        per_day = HISTORY_ANSWERS / HISTORY_DAYS / OFFICE_HOURS.mean(start_us, hour_us)
        self._stage.title = "Twelve weeks of history"
        for week_us in range(start_us, hour_us, HISTORY_SLICE_US):
            end_us = min(week_us + HISTORY_SLICE_US, hour_us)
            await feed(self._life.stream(week_us, end_us, per_day=per_day), sink, stop)
            await self._processed(sink, crm, stop)
            await crm.send_until(end_us)
            await self._processed(sink, crm, stop)
        left_s = max(SHORTEST_HOUR_S, self._options.seconds - (time.monotonic() - self._started))
        speed = 3_600 / left_s
        self._stage.title = f"An hour of life in {left_s:.0f} s"
        per_day = LIVE_PER_SECOND / speed * 86_400
        hour = self._life.stream(hour_us, hour_us + US_PER_HOUR, per_day=per_day, rhythm=STEADY)
        # What happens is at most an hour old; Kafka's times are ours, so that latency and lag are real.
        async with crm.at_speed(speed, hour_us):
            await feed(hour, sink, stop, due=at_speed(speed, hour_us), record_time_now=True)

    async def _processed(self, sink: KafkaSink, crm: Crm, stop: asyncio.Event) -> None:
        """Return when the worker has committed everything sent and its events are read, or when asked to stop."""
        deadline = time.monotonic() + CATCH_UP_WITHIN_S
        while not stop.is_set() and time.monotonic() < deadline:
            await self._observer.look()
            seen = self._observer.seen
            committed = seen.processed >= sink.tally.records and seen.followed_up >= crm.sent
            if committed and seen.events[PASSIVE_DETECTED] >= seen.counters["nps_passive_detected_total"].total():
                return
            await asyncio.sleep(REFRESH_S / 4)

    async def _catch_up(self, sink: KafkaSink, crm: Crm, stop: asyncio.Event) -> None:
        """Return when everything sent can be seen, or is too late."""
        self._stage.title = "Catching up"
        await self._processed(sink, crm, stop)
        deadline = time.monotonic() + CATCH_UP_WITHIN_S
        while not all(check.holds for check in checks(sink.tally, self._observer.seen, crm.sent)) and not stop.is_set():
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(REFRESH_S)

    async def _unless_worker_ends(self, work: Coroutine[Any, Any, None]) -> None:
        """Raises Failure when the worker ends before the work does."""
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait([task], timeout=LOOK_S))[0]:
                self._worker.check()
            task.result()
        finally:
            task.cancel()

    @asynccontextmanager
    async def _watched(self, sink: KafkaSink) -> AsyncIterator[None]:
        """Look, follow and show in the background."""
        tasks = [
            asyncio.create_task(self._look()),
            asyncio.create_task(self._observer.follow_events(self._settings)),
            asyncio.create_task(self._show_lines(sink) if self._options.plain else self._show_live(sink)),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            await self._observer.look()
            await asyncio.sleep(LOOK_S)

    async def _show_live(self, sink: KafkaSink) -> None:
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                size = self._console.size
                live.update(view(self._stage, sink.tally, self._observer.seen, size.width, size.height), refresh=True)
                await asyncio.sleep(REFRESH_S)

    async def _show_lines(self, sink: KafkaSink) -> None:
        while True:
            await asyncio.sleep(PLAIN_EVERY_S)
            line = plain_line(time.monotonic() - self._started, self._stage, sink.tally, self._observer.seen)
            self._console.print(line, markup=False)

    def _conclude(self, sink: KafkaSink, crm: Crm, story: Story, interrupted: bool) -> bool:
        """The last table and, unless it was stopped, whether everything published was counted."""
        seen = self._observer.seen
        width = WIDTH_IF_PLAIN if self._options.plain else self._console.width
        for part in (scores(seen, width), "", facts(sink.tally, seen), "", newest(seen), ""):
            self._console.print(part)
        if interrupted:
            say("Stopped before the end.")
            return True
        results = [
            *checks(sink.tally, seen, crm.sent),
            Check(story.holds, f"{'✓' if story.holds else '✗'} Kari: a 7 found, contacted, and converted to a 9"),
        ]
        for check in results:
            self._console.print(check.sentence, style="green" if check.holds else "bold red", soft_wrap=True)
        return all(check.holds for check in results)


def _tell(crm: Crm, event_type: str, data: dict[str, Any]) -> None:
    if event_type == PASSIVE_DETECTED and data["customer_id"] != KARI:  # who has somebody to herself
        crm.detected(data)
