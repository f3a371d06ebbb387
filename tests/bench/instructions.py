"""How many instructions of Python a response takes on the pure path: `python -m tests.bench.instructions`.

Deciding (read, validate, rules, counts, events) and encoding, without Kafka. The number is exact: the same input takes
the same instructions on every machine that runs the same version of Python. It says nothing of what is done in C.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from streams.engine.inbox import Inbox
from streams.engine.records import Record
from streams.engine.store import Store
from tests.bench import pure
from tests.bench.workload import SHAPES, responses

RESPONSES = 2_000
CUSTOMERS = 1_000
"""So few that journeys are read back and changed, too."""
NOW_MS = 1_795_000_000_000


class Instructions:
    """Counts those that are executed in our own modules (`schemas`, `streams`) while it is on."""

    def __init__(self) -> None:
        self.of_file: Counter[str] = Counter()

    def count(self, call: Callable[[], Any]) -> Any:
        sys.settrace(self._called)
        try:
            return call()
        finally:
            sys.settrace(None)

    def _called(self, frame: FrameType, _event: str, _argument: object) -> Any:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(("schemas.", "streams.")):
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True

        def executed(_frame: FrameType, event: str, _argument: object) -> Any:
            if event == "opcode":
                self.of_file[module] += 1
            return executed

        return executed


def count(shape: str, directory: Path) -> Counter[str]:
    """Return instructions by module, all responses together, caches warm."""
    made = responses(shape, 2 * RESPONSES, 1, NOW_MS, customers=CUSTOMERS)
    records = [
        Record("nps.responses", 0, offset, record.timestamp_ms, record.key, record.value, ())
        for offset, record in enumerate(made)
    ]
    store = Store(directory / shape)
    decider = pure.decider_on(store)

    def work(some: list[Record]) -> None:
        inbox = Inbox()
        inbox.begin_at(some[0].offset)
        inbox.put(some)
        while inbox:
            decider.decide(inbox.take())
        unit = decider.close_unit()
        pure.write(store, unit)
        decider.unit_committed()

    instructions = Instructions()
    work(records[:RESPONSES])
    instructions.count(lambda: work(records[RESPONSES:]))
    store.close()
    return instructions.of_file


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        for shape in SHAPES:
            found = count(shape, Path(directory))
            print(f"{shape}: {found.total() / RESPONSES:.1f} instructions a response, Python {sys.version.split()[0]}")
            for module, executed in found.most_common():
                print(f"  {executed / RESPONSES:7.1f}  {module}")


if __name__ == "__main__":
    main()
