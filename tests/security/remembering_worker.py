"""A worker that tells what it has in mind: `python -m tests.security.remembering_worker`, with a worker's environment.

Whoever writes texts, line by line and each reversed, to `<NPS_STATE_DIR>.look` finds in `<NPS_STATE_DIR>.found` which
of them the process holds in any Python object, and in what: JSON, text → names of types. (Reversed, so that what only
the question holds is not found.)
"""

from __future__ import annotations

import gc
import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import msgspec

from streams.app import run_worker
from streams.settings import Settings

KNOWN = ["a text that " + "is always in mind"]
"""So that a search that finds nothing can be told from one that does not search."""


def held_by(thing: object) -> Iterable[object]:
    """What an object refers to; the collector does not see into msgspec's structs."""
    if isinstance(thing, msgspec.Struct):
        return msgspec.structs.astuple(thing)
    return gc.get_referents(thing)


def search(reversed_texts: list[str]) -> dict[str, set[str]]:
    """Look through everything that can be reached from what the collector knows."""
    gc.unfreeze()
    gc.collect()
    found: dict[str, set[str]] = defaultdict(set)
    seen: set[int] = set()
    everything = gc.get_objects()
    waiting: list[tuple[object, object]] = [(None, thing) for thing in everything]
    ignored = {id(everything), id(waiting), id(reversed_texts), id(seen)}
    while waiting:
        holder, thing = waiting.pop()
        if id(thing) in seen or id(thing) in ignored:
            continue
        seen.add(id(thing))
        if isinstance(thing, memoryview):
            thing = thing.obj
        if isinstance(thing, str | bytes | bytearray):
            backwards = thing[::-1]
            for text in reversed_texts:
                if (text if isinstance(backwards, str) else text.encode()) in backwards:
                    found[text[::-1]].add(f"{type(holder).__name__}: {type(thing).__name__}")
        else:
            waiting += [(thing, referred) for referred in held_by(thing)]
    return found


def answer(question: Path, reply: Path) -> None:
    while True:
        time.sleep(0.1)
        if question.exists():
            found = search(question.read_text().splitlines())
            question.unlink()
            written = reply.with_suffix(".writing")
            written.write_text(json.dumps({text: sorted(kinds) for text, kinds in found.items()}))
            written.rename(reply)


if __name__ == "__main__":
    state_dir = os.environ["NPS_STATE_DIR"]
    threading.Thread(target=answer, args=(Path(f"{state_dir}.look"), Path(f"{state_dir}.found")), daemon=True).start()
    run_worker(Settings.from_environment())
