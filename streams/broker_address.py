"""Where a development broker listens: ports that are free, those that it had, and whether it answers there."""

from __future__ import annotations

import random
import socket
import struct
from pathlib import Path
from typing import Final

from streams.broker_jars import BrokerError

HOST: Final = "127.0.0.1"

# Below the range from which the kernel takes ports for outgoing connections (32768 and up on Linux): a client that
# keeps dialling a killed broker there can end up connected to itself, or hold the port when the broker wants it back.
PORTS: Final = range(20_000, 32_000)


def free_port() -> int:
    """Return a TCP port on which nothing listens now, outside the kernel's range for outgoing connections."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise BrokerError(f"No free port was found on {HOST} between {PORTS.start} and {PORTS.stop}.")


def ports_before(data_dir: Path) -> dict[str, int]:
    """Return the ports by listener that the broker in this data directory was last started with.

    They must not change by themselves: a KRaft quorum remembers its voters' addresses, and clients remember theirs.
    """
    try:
        lines = (data_dir / "server.properties").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):  # there are none; one that cannot be used is told of by whoever writes it
        return {}
    listeners = [line.removeprefix("listeners=") for line in lines if line.startswith("listeners=")]
    pairs = (listener.partition("://") for listener in listeners[-1].split(",")) if listeners else ()
    return {name: int(address.rpartition(":")[2]) for name, _, address in pairs}


def refuse_taken_port(port: int) -> None:
    """Raise BrokerError if something listens there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((HOST, port)) == 0:
            raise BrokerError(f"Something listens on {HOST}:{port} already; stop it or choose another port.")


def answers(port: int) -> bool:
    """Tell whether the broker answers a metadata request (version 1, no topics) with itself in the list of brokers."""
    request = struct.pack(">hhihi", 3, 1, 1, -1, 0)  # key, version, correlation id, no client id, no topics
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = b""
            while len(answer) < 12:  # size, correlation id, count of brokers
                piece = connection.recv(4096)
                if not piece:
                    return False
                answer += piece
    except OSError:
        return False
    brokers: int = struct.unpack(">iii", answer[:12])[2]
    return brokers > 0
