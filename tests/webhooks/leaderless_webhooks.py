"""`nps` to which a partition has no leader while a file is there: `python -m tests.webhooks.leaderless_webhooks …`.

What the client knows of the cluster names none, as while a broker is away that has the only copy.
"""

from __future__ import annotations

import os
from pathlib import Path

from aiokafka.cluster import ClusterMetadata
from aiokafka.structs import TopicPartition

from streams.cli import main

AWAY = Path(os.environ["AWAY"])
"""Holds the name of the topic whose partition 0 it is; `*`: all partitions of all."""
_leader = ClusterMetadata.leader_for_partition


def leader_for_partition(self: ClusterMetadata, partition: TopicPartition) -> int | None:
    """In place of the client's own."""
    away = AWAY.read_text() if AWAY.exists() else ""
    if away == "*" or (partition.partition == 0 and away == partition.topic):
        return -1
    leader: int | None = _leader(self, partition)
    return leader


if __name__ == "__main__":
    ClusterMetadata.leader_for_partition = leader_for_partition
    main()
