"""What is served by asyncio, for tests that block."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def in_a_thread(context: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Enter it on an event loop of its own, and leave it at the end."""
    told: queue.Queue[tuple[T, Callable[[], object]] | BaseException] = queue.Queue()

    async def serve() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with context as entered:
            told.put((entered, lambda: loop.call_soon_threadsafe(stop.set)))
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            told.put(error)
            raise

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    found = told.get(timeout=10)
    if isinstance(found, BaseException):
        raise found
    entered, stop = found
    try:
        yield entered
    finally:
        stop()
        thread.join(10)
