"""`nps` whose groups' coordinator is in disorder: `python -m tests.webhooks.loading_webhooks webhooks run`.

The first answers to where the group is are errors of the answer as a whole, as brokers give them after a restart. And a
heartbeat is answered with an error that nobody knows.
"""

from __future__ import annotations

import sys
from itertools import count
from types import SimpleNamespace
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import GroupLoadInProgressError, UnknownError
from aiokafka.protocol.commit import OffsetFetchRequest, OffsetFetchResponse_v3
from aiokafka.protocol.group import HeartbeatRequest

from streams.cli import main
from streams.engine import clients

REFUSED = 2
UNKNOWN_AT = 2
_send = clients._send
_asked, _beaten = count(), count()


async def send(self: AIOKafkaClient, node_id: int, request: Any, **how: Any) -> Any:
    """In place of the client's own."""
    if isinstance(request, OffsetFetchRequest) and next(_asked) < REFUSED:
        return OffsetFetchResponse_v3(0, [], GroupLoadInProgressError.errno)
    answer = await _send(self, node_id, request, **how)
    if isinstance(request, HeartbeatRequest) and next(_beaten) == UNKNOWN_AT:
        print("an unknown answer to a heartbeat", file=sys.stderr, flush=True)
        return SimpleNamespace(error_code=UnknownError.errno)
    return answer


if __name__ == "__main__":
    clients._send = send
    main()
