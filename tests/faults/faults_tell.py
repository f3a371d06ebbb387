"""What a worker is doing, told on SIGUSR1: each task of its event loops with where it waits, partitions and fetchers.

A worker that stands still says nothing by itself; this is what can be known of why.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from typing import Any


def tell_on_signal() -> None:
    """To be called in the main thread."""
    signal.signal(signal.SIGUSR1, lambda _number, _frame: _tell())


def _tell() -> None:
    gc.unfreeze()  # what is frozen is not found
    found = gc.get_objects()
    loops = [one for one in found if isinstance(one, asyncio.AbstractEventLoop)]
    gc.freeze()
    for loop in loops:
        for task in asyncio.all_tasks(loop):
            print(f"TOLD task {task.get_name()}: {' < '.join(_waits(task.get_coro()))}", file=sys.stderr)
    for one in found:
        kind = type(one).__name__
        if kind == "Partition" and type(one).__module__.startswith("streams."):
            decider = one._decider
            print(
                f"TOLD partition {one.number}: ready {one.ready.is_set()} stopping {one._stopping} "
                f"committed {one.known.offset} and {one.known.follow_ups_offset} "
                f"waiting {one._inbox._records} and {one._follow_up_inbox._records} "
                f"expected {one._inbox.expected} and {one._follow_up_inbox.expected} "
                f"room {one._inbox.has_room} commit {one._commit} "
                f"unit {decider and (decider.unit.report.records, decider.unit.full)} committing "
                f"{decider and decider.committing is not None}",
                file=sys.stderr,
            )
        elif kind == "Fetcher" and type(one).__module__.startswith("aiokafka."):
            print(f"TOLD fetcher in flight {one._in_flight} records {dict(one._records)}", file=sys.stderr)
            subscription = one._subscriptions.subscription
            for tp in subscription.assignment.tps if subscription and subscription.assignment else ():
                state = subscription.assignment.state_value(tp)
                print(f"TOLD fetched {tp.topic} {tp.partition}: {vars(state)}", file=sys.stderr)
    sys.stderr.flush()


def _waits(awaited: Any) -> list[str]:
    places = []
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None:
            places.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}")
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return places[::-1]
