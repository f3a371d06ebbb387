"""A host's addresses, looked up so that no other endpoint waits for it.

An event loop looks names up in a few threads for the whole process, uvloop two at a time. While the name servers of two
endpoints did not answer, no third endpoint could be connected to.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar, cast

from aiohttp import ThreadedResolver

T = TypeVar("T")


def resolver() -> ThreadedResolver:
    """Return a resolver for a connector. It has one thread at a time for each host: a connector whose lookup is under
    way begins no other.
    """
    return ThreadedResolver(cast(asyncio.AbstractEventLoop, _Lookups()))


class _Lookups:
    """All that aiohttp's resolver wants of a loop."""

    async def getaddrinfo(self, host: str, port: int, **options: Any) -> list[Any]:
        # As bytes, and not for Python to encode: of a label that is too long it would make a ValueError.
        return await _in_a_thread(lambda: socket.getaddrinfo(host.encode(), port, **options))

    async def getnameinfo(self, address: tuple[Any, ...], flags: int) -> tuple[str, str]:
        return await _in_a_thread(lambda: socket.getnameinfo(address, flags))


def _in_a_thread(call: Callable[[], T]) -> asyncio.Future[T]:
    """Call in a new thread. Not in an executor's: Python waits for those when it ends, however long a name server
    takes.
    """
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()  # from here on it takes a result, also when nobody waits any more

    def run() -> None:
        try:
            done.set_result(call())
        except Exception as error:
            done.set_exception(error)

    threading.Thread(target=run, name="lookup", daemon=True).start()
    return asyncio.wrap_future(done)
