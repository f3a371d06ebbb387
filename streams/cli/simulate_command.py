"""`nps simulate`: believable survey life, to Kafka or as NDJSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, NamedTuple

import typer

from streams.cli.console import Failure, plural, say, stderr

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.cli.simulated_crm import Crm, Detections
    from streams.cli.simulated_feed import DueTime, Sink, Tally
    from streams.simulation import Life, Simulated

STDOUT = "-"
DEFAULT_RATE = 20.0
SECONDS_A_DAY = 86_400
EXTRAS = 1.03
"""Records to an answer: repeats, amendments and the like come on top."""
LEAD = 1.2
"""A sped-up life begins so much earlier than it should need to, so that it never overtakes our own clock."""
ANSWERS_PER_CUSTOMER = 2.5
MIN_CUSTOMERS = 50


SLICES = 12
"""Of the days that are replayed with a CRM: what it does about the first moves the answers of the next."""


class Plan(NamedTuple):
    """What is sent, and when."""

    life: Life
    slices: Iterable[tuple[Iterable[Simulated], int | None]]
    """Records and the simulated time in µs at which they end; None: they end by their number."""
    due: DueTime | None
    start_us: int
    speed: float | None
    """Of simulated time against ours; None: the past, in its own record times."""


def simulate(
    responses: Annotated[
        int, typer.Option(min=1, help="Records to send, all kinds together; with --days about so many.")
    ] = 10_000,
    days: Annotated[
        float | None,
        typer.Option(min=0.01, max=400, help="Replay the days up to now, record time as lived, so that windows fill."),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0.01, help=f"Records a second. [default: {DEFAULT_RATE:g}; with --days as fast as it goes]"),
    ] = None,
    speed: Annotated[
        float,
        typer.Option(min=1, max=1e6, help="Simulated time passes so many times as fast: 60 lives an hour in a minute."),
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed has the same customers.")] = 1,
    customers: Annotated[
        int | None, typer.Option(min=1, help="Customers who may answer. [default: one for 2.5 responses]")
    ] = None,
    crm: Annotated[
        bool, typer.Option("--crm", help="Also follow up the passives that running workers detect; see below.")
    ] = False,
    output: Annotated[
        str | None, typer.Option(help="Write values as NDJSON to this file, - for stdout, instead of to Kafka.")
    ] = None,
) -> None:
    """Send simulated survey responses: mostly passives, with reasons and comments, some of whom convert later.

    Some arrive late, twice or amended, a few are broken, anonymous, or ask to be erased. Without --days life happens
    now, at --rate a second; with --days the past is replayed. It ends by itself, or with Ctrl-C.

    With --crm, three passives in four are contacted, most in time, and are won according to what was done for which
    reason. A contact comes an hour to ten days after its detection: use --days, or --speed.

    The keys and partitions are those that the Java client would choose.
    """
    import asyncio

    if days is not None and speed != 1.0:
        raise typer.BadParameter("--speed is for life as it happens; --days replays as fast as it goes or at --rate")
    if crm and output is not None:
        raise typer.BadParameter("--crm needs workers that detect passives: it goes with Kafka, not with --output")
    population = customers or max(MIN_CUSTOMERS, int(responses / ANSWERS_PER_CUSTOMER))
    if days:
        plan = _past(seed, population, responses, days, rate, SLICES if crm else 1)
    else:
        plan = _now(seed, population, responses, rate, speed)
    with _progress(responses) as on_progress:
        if output is None:
            tally, followed_up = asyncio.run(_to_kafka(plan, on_progress, seed if crm else None))
        else:
            with _opened(output) as stream:
                tally, followed_up = asyncio.run(_to_lines(plan, stream, on_progress)), None
    _report(tally, followed_up)


def _past(seed: int, customers: int, responses: int, days: float, rate: float | None, slices: int) -> Plan:
    from itertools import pairwise

    from streams.cli.simulated_feed import at_rate
    from streams.simulation import OFFICE_HOURS, Life

    now_us = time.time_ns() // 1_000
    start_us = now_us - int(days * SECONDS_A_DAY * 1_000_000)
    per_day = responses / EXTRAS / days / OFFICE_HOURS.mean(start_us, now_us)
    life = Life(seed, customers)
    bounds = pairwise(start_us + (now_us - start_us) * number // slices for number in range(slices + 1))
    parts = ((life.stream(begin_us, end_us, per_day=per_day), end_us) for begin_us, end_us in bounds)
    return Plan(life, parts, at_rate(rate) if rate else None, start_us, None)


def _now(seed: int, customers: int, responses: int, rate: float | None, speed: float) -> Plan:
    from itertools import islice

    from streams.cli.simulated_feed import at_speed
    from streams.simulation import STEADY, Life

    rate = rate or DEFAULT_RATE
    lead_us = int(responses / rate * (speed - 1) * LEAD * 1_000_000)
    start_us = time.time_ns() // 1_000 - lead_us
    per_day = rate / EXTRAS / speed * SECONDS_A_DAY
    life = Life(seed, customers)
    records = islice(life.stream(start_us, per_day=per_day, rhythm=STEADY), responses)
    return Plan(life, [(records, None)], at_speed(speed, start_us), start_us, speed)


async def _to_kafka(plan: Plan, on_progress: Callable[[Tally], None], crm_seed: int | None) -> tuple[Tally, int | None]:
    """Returns what was sent, and with a CRM (that has a seed) how many follow-ups were."""
    from aiokafka.errors import KafkaError

    from schemas.topics import Topics
    from streams.cli import kafka
    from streams.cli.simulated_crm import Crm, Detections
    from streams.cli.simulated_feed import KafkaSink
    from streams.engine.access import REFUSALS
    from streams.settings import Settings

    settings = Settings.from_environment()
    topics = Topics(settings.topic_prefix)
    async with kafka.connected(settings, kafka.admin(settings)) as admin:
        kafka.existing_topic(await kafka.topics(admin), topics.responses)
        producer = kafka.producer(settings)
        sink = KafkaSink(producer, topics.responses)
        try:
            with sink:
                async with kafka.connected(settings, producer):
                    if crm_seed is None:
                        return await _feed(plan, sink, on_progress), None
                    crm = Crm(producer, topics.follow_ups, plan.life, crm_seed)
                    async with kafka.connected(settings, kafka.consumer(settings)) as consumer:
                        detections = Detections(settings, admin, consumer, crm)
                        async with detections.read():
                            return await _feed(plan, sink, on_progress, (crm, detections)), crm.sent
        except REFUSALS:
            raise
        except KafkaError as error:
            raise Failure(
                f"Kafka stopped answering ({type(error).__name__}): of {plural(sink.sent, 'record')} sent"
                f" it has acknowledged {sink.tally.records:,}"
            ) from None


async def _to_lines(plan: Plan, stream: BinaryIO, on_progress: Callable[[Tally], None]) -> Tally:
    from streams.cli.simulated_feed import LinesSink

    return await _feed(plan, LinesSink(stream), on_progress)


async def _feed(
    plan: Plan, sink: Sink, on_progress: Callable[[Tally], None], crm: tuple[Crm, Detections] | None = None
) -> Tally:
    from contextlib import AsyncExitStack

    from streams.cli.simulated_feed import feed
    from streams.cli.stopping import stop_on_signals

    now = plan.speed is not None
    async with AsyncExitStack() as stack:
        stop = stack.enter_context(stop_on_signals())
        if crm is not None and plan.speed is not None:
            await stack.enter_async_context(crm[0].at_speed(plan.speed, plan.start_us))
        for records, end_us in plan.slices:
            await feed(records, sink, stop, due=plan.due, record_time_now=now, on_progress=on_progress)
            if crm is not None and end_us is not None:
                await crm[1].all_read(stop)
                await crm[0].send_until(end_us)
            if stop.is_set():
                break
    return sink.tally


@contextmanager
def _opened(output: str) -> Iterator[BinaryIO]:
    if output == STDOUT:
        yield sys.stdout.buffer
        return
    from streams.cli.output_file import OutputFile

    with OutputFile(Path(output)) as stream:
        yield stream


@contextmanager
def _progress(responses: int) -> Iterator[Callable[[Tally], None]]:
    """A bar on a terminal, by records that arrived."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = stderr()
    columns = (TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("simulating", total=responses)
        yield lambda tally: progress.update(task, completed=tally.records)


def _report(tally: Tally, followed_up: int | None) -> None:
    say(f"{plural(tally.records, 'record')} sent: {kinds_in_words(tally)}")
    if followed_up is not None:
        say(f"{plural(followed_up, 'follow-up')} sent")
    if tally.left_out:
        say(f"{plural(tally.left_out, 'erasure')} left out: a file of values has no null")


def kinds_in_words(tally: Tally) -> str:
    """`9,713 answers, 150 repeats, 112 amendments, 21 broken, 4 erasures`."""
    kinds = tally.kinds
    words = [
        plural(kinds["answer"], "answer"),
        plural(kinds["repeat"], "repeat"),
        plural(kinds["amendment"], "amendment"),
        f"{kinds['broken']:,} broken",
        plural(kinds["erasure"], "erasure"),
    ]
    return ", ".join(words)
