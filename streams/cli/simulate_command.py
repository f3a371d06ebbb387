"""`nps simulate`: believable survey life, to Kafka or as NDJSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, BinaryIO, NamedTuple

import typer

from streams.cli.console import Failure, plural, say, stderr

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.cli.simulated_feed import DueTime, Sink, Tally
    from streams.simulation import Simulated

STDOUT = "-"
DEFAULT_RATE = 20.0
SECONDS_A_DAY = 86_400
EXTRAS = 1.03
"""Records to an answer: repeats, amendments and the like come on top."""
LEAD = 1.2
"""A sped-up life begins so much earlier than it should need to, so that it never overtakes our own clock."""
ANSWERS_PER_CUSTOMER = 2.5
MIN_CUSTOMERS = 50


class Plan(NamedTuple):
    """What is sent, and when."""

    records: Iterable[Simulated]
    due: DueTime | None
    record_time_now: bool


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
        float, typer.Option(min=1, help="Simulated time passes so many times as fast: 60 lives an hour in a minute.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed has the same customers.")] = 1,
    customers: Annotated[
        int | None, typer.Option(min=1, help="Customers who may answer. [default: one for 2.5 responses]")
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="Write values as NDJSON to this file, - for stdout, instead of to Kafka.")
    ] = None,
) -> None:
    """Send simulated survey responses: mostly passives, with reasons and comments, some of whom convert later.

    Some arrive late, twice or amended, a few are broken, anonymous, or ask to be erased. Without --days life happens
    now, at --rate a second; with --days the past is replayed. It ends by itself, or with Ctrl-C.

    The keys and partitions are those that the Java client would choose.
    """
    import asyncio

    if days is not None and speed != 1.0:
        raise typer.BadParameter("--speed is for life as it happens; --days replays as fast as it goes or at --rate")
    population = customers or max(MIN_CUSTOMERS, int(responses / ANSWERS_PER_CUSTOMER))
    plan = _past(seed, population, responses, days, rate) if days else _now(seed, population, responses, rate, speed)
    with _progress(responses) as on_progress:
        if output is None:
            tally = asyncio.run(_to_kafka(plan, on_progress))
        else:
            with _opened(output) as stream:
                tally = asyncio.run(_to_lines(plan, stream, on_progress))
    _report(tally)


def _past(seed: int, customers: int, responses: int, days: float, rate: float | None) -> Plan:
    from streams.cli.simulated_feed import at_rate
    from streams.simulation import OFFICE_HOURS, simulate

    now_us = time.time_ns() // 1_000
    start_us = now_us - int(days * SECONDS_A_DAY * 1_000_000)
    per_day = responses / EXTRAS / days / OFFICE_HOURS.mean(start_us, now_us)
    records = simulate(seed, customers, start_us, end_us=now_us, per_day=per_day)
    return Plan(records, at_rate(rate) if rate else None, record_time_now=False)


def _now(seed: int, customers: int, responses: int, rate: float | None, speed: float) -> Plan:
    from itertools import islice

    from streams.cli.simulated_feed import at_speed
    from streams.simulation import STEADY, simulate

    rate = rate or DEFAULT_RATE
    lead_us = int(responses / rate * (speed - 1) * LEAD * 1_000_000)
    start_us = time.time_ns() // 1_000 - lead_us
    per_day = rate / EXTRAS / speed * SECONDS_A_DAY
    records = simulate(seed, customers, start_us, per_day=per_day, rhythm=STEADY)
    return Plan(islice(records, responses), at_speed(speed, start_us), record_time_now=True)


async def _to_kafka(plan: Plan, on_progress: Callable[[Tally], None]) -> Tally:
    from schemas.topics import Topics
    from streams.cli import kafka
    from streams.cli.simulated_feed import KafkaSink
    from streams.settings import Settings

    settings = Settings.from_environment()
    topic = Topics(settings.topic_prefix).responses
    async with kafka.connected(settings, kafka.admin(settings)) as admin:
        kafka.existing_topic(await kafka.topics(admin), topic)
    async with kafka.connected(settings, kafka.producer(settings)) as producer:
        return await _feed(plan, KafkaSink(producer, topic), on_progress)


async def _to_lines(plan: Plan, stream: BinaryIO, on_progress: Callable[[Tally], None]) -> Tally:
    from streams.cli.simulated_feed import LinesSink

    return await _feed(plan, LinesSink(stream), on_progress)


async def _feed(plan: Plan, sink: Sink, on_progress: Callable[[Tally], None]) -> Tally:
    from streams.cli.simulated_feed import feed
    from streams.cli.stopping import stop_on_signals

    with stop_on_signals() as stop:
        await feed(
            plan.records, sink, stop, due=plan.due, record_time_now=plan.record_time_now, on_progress=on_progress
        )
    return sink.tally


@contextmanager
def _opened(output: str) -> Iterator[BinaryIO]:
    if output == STDOUT:
        yield sys.stdout.buffer
        return
    try:
        stream = open(output, "wb")  # noqa: SIM115
    except OSError as error:
        raise Failure(f"{output} cannot be written: {error.strerror}") from None
    with stream:
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


def _report(tally: Tally) -> None:
    say(f"{plural(tally.records, 'record')} sent: {kinds_in_words(tally)}")
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
