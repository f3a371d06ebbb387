"""`nps` whose groups' coordinator is still loading: `python -m tests.webhooks.loading_webhooks webhooks run`.

The first answers to where the group is are errors of the answer as a whole, as brokers give them after a restart.
"""

from __future__ import annotations

from itertools import count
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import GroupLoadInProgressError
from aiokafka.protocol.commit import OffsetFetchRequest, OffsetFetchResponse_v3

from streams.cli import main
from streams.engine import clients

REFUSED = 2
_send = clients._send
_asked = count()


async def send(self: AIOKafkaClient, node_id: int, request: Any, **how: Any) -> Any:
    """In place of the client's own."""
    if isinstance(request, OffsetFetchRequest) and next(_asked) < REFUSED:
        return OffsetFetchResponse_v3(0, [], GroupLoadInProgressError.errno)
    return await _send(self, node_id, request, **how)


if __name__ == "__main__":
    clients._send = send
    main()
