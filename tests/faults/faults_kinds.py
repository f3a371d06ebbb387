"""The kinds of faults that befall workers, the broker, clocks and input. Each is a context manager: entering does it,
what is inside is how long it lasts, leaving heals it. What a worker must do about it is asserted on the way.
"""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from tests.faults import faults_feed
from tests.faults.faults_scene import ENDS_WITHIN_S, Scene, assert_refused
from tests.faults.faults_state import STATE_KINDS
from tests.faults.faults_topics import TOPIC_KINDS

Kind = Callable[..., AbstractContextManager[None]]

STORM_S = 20.0
SCRAPERS = 100
ANSWERS_WITHIN_S = 2.0
"""While others hold on to their connections."""


# Workers


@contextmanager
def worker_killed(scene: Scene, worker: str) -> Iterator[None]:
    scene.subjects[worker].kill()
    yield
    scene.subjects[worker].start()


@contextmanager
def worker_killed_in_a_commit(scene: Scene, worker: str, point: str, passing: int) -> Iterator[None]:
    scene.light_fuse(worker, point, passing, signal.SIGKILL)
    yield
    scene.subjects[worker].start()


@contextmanager
def worker_stopped(scene: Scene, worker: str) -> Iterator[None]:
    scene.stop(worker)
    yield
    scene.subjects[worker].start()


@contextmanager
def worker_frozen(scene: Scene, worker: str) -> Iterator[None]:
    scene.subjects[worker].process.freeze()
    yield
    scene.subjects[worker].process.thaw()


@contextmanager
def worker_frozen_in_a_commit(scene: Scene, worker: str, point: str, passing: int) -> Iterator[None]:
    """A zombie: it wakes up where it was, and its partitions are others' by then."""
    scene.light_fuse(worker, point, passing, signal.SIGSTOP)
    yield
    scene.subjects[worker].process.thaw()


@contextmanager
def all_frozen_in_a_transaction(scene: Scene) -> Iterator[None]:
    """Nobody is there to fence anybody: it is the broker that ends the transactions, at their timeout."""
    names = [name for name, subject in scene.subjects.items() if subject.should_run]
    for name in names:
        scene.until_ready(name)
    for name in names:
        scene.subjects[name].controls.light_fuse("before_commit", 1, signal.SIGSTOP)
    for name in names:
        scene.until_frozen(name)
    scene.began()
    yield
    for name in names:
        scene.subjects[name].process.thaw()


@contextmanager
def rebalance_storm(scene: Scene, lives_s: list[float], ends: list[str]) -> Iterator[None]:
    """Others join and leave, five times in twenty seconds."""
    with scene.extra_worker("x") as x, scene.extra_worker("y") as y:
        began = time.monotonic()
        for number, (life_s, end) in enumerate(zip(lives_s, ends, strict=True)):
            guest = (x, y)[number % 2]
            guest.start()
            scene.sleep(life_s)
            scene.began()  # each time anew: the recovery is from the last one
            if end == "SIGKILL":
                guest.kill()
            else:
                scene.stop(guest.name)
            scene.sleep(max(began + (number + 1) * STORM_S / len(lives_s) - time.monotonic(), 0))
        yield


@contextmanager
def scaled_1_2_3_1(scene: Scene, order: list[str]) -> Iterator[None]:
    """From however many there are to one, to two, to three, to one, and back."""
    with ExitStack() as stack:
        names = list(order)
        if len(names) < 3:
            stack.enter_context(scene.extra_worker("x"))
            names.append("x")
        for name in order[1:]:
            scene.stop(name)
        for name in names[1:3]:
            scene.sleep(1.0)
            scene.subjects[name].start()
            scene.until_ready(name)
        scene.began()
        for name in names[1:3]:
            scene.stop(name)
        yield
        for name in order[1:]:
            scene.subjects[name].start()


@contextmanager
def started_twice(scene: Scene, worker: str) -> Iterator[None]:
    """On the state directory of one that lives: refused, and the living one doesn't notice."""
    scene.until_alive(worker)
    state_dir = scene.subjects[worker].state_dir
    scene.began()
    twin = scene.stage.worker(f"twin-of-{worker}")
    twin.environment["NPS_STATE_DIR"] = str(state_dir)
    with twin:
        scene.until(lambda: not twin.running, ENDS_WITHIN_S, "the twin ends")
        assert_refused(twin, twin.log(), str(state_dir), "in use by a living worker")
    yield


# The broker


@contextmanager
def broker_killed(scene: Scene) -> Iterator[None]:
    scene.broker.kill()
    yield
    scene.broker.start()


@contextmanager
def broker_restarted(scene: Scene) -> Iterator[None]:
    scene.broker.stop()
    yield
    scene.broker.start()


@contextmanager
def broker_paused(scene: Scene) -> Iterator[None]:
    """Shorter than a session, or longer than sessions and transactions may take: so both have timed out."""
    scene.broker.pause()
    yield
    scene.broker.resume()


# Clocks, scrapers, input


@contextmanager
def clock_jumps(scene: Scene, worker: str, hours: float, restarted: bool) -> Iterator[None]:
    """The wall clock, and back. Nothing that is checked here depends on it: events and record times have their own
    time, and no day of the load is near the end of its retention.
    """
    subject = scene.subjects[worker]
    subject.controls.set_clock_ahead(hours * 3600)
    if restarted:
        subject.kill()
        subject.start()
    yield
    subject.controls.set_clock_ahead(0)


@contextmanager
def scrapers_that_hold_on(scene: Scene, worker: str) -> Iterator[None]:
    """Half a request, a request whose answer nobody reads, an answer that is read byte by byte, and silence."""
    scene.until_ready(worker)
    scene.began()
    with ExitStack() as stack:
        connections = [stack.enter_context(scene.connect(worker)) for _ in range(SCRAPERS)]
        for number, connection in enumerate(connections):
            _hold_on(connection, number % 4)
        yield
        for connection in connections[::4]:
            assert connection.recv(1), "nothing was answered"
        process = scene.subjects[worker].process
        for path in ("/healthz", "/metrics"):
            began = time.monotonic()
            process.get(path, timeout_s=ENDS_WITHIN_S)
            took_s = time.monotonic() - began
            assert took_s < ANSWERS_WITHIN_S, f"{path} took {took_s:.1f} s while scrapers held on"
        for connection in connections[::4]:
            assert connection.recv(1), "byte by byte there is more"


def _hold_on(connection: socket.socket, manner: int) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    request = b"GET /metrics HTTP/1.1\r\nHost: worker\r\nAccept: text/plain\r\n\r\n"
    if manner < 2:
        connection.sendall(request)
    elif manner == 2:
        connection.sendall(request[:30])


@contextmanager
def poison_burst(scene: Scene, partition: int, seed: int) -> Iterator[None]:
    scene.feed.throw_in(faults_feed.poison(seed, partition, scene.plan.partitions))
    yield


@contextmanager
def giant_customer(scene: Scene, partition: int, seed: int) -> Iterator[None]:
    scene.feed.throw_in(faults_feed.giant(seed, partition, scene.plan.partitions))
    yield


KINDS: dict[str, Kind] = {
    "worker_killed": worker_killed,
    "worker_killed_in_a_commit": worker_killed_in_a_commit,
    "worker_stopped": worker_stopped,
    "worker_frozen": worker_frozen,
    "worker_frozen_in_a_commit": worker_frozen_in_a_commit,
    "all_frozen_in_a_transaction": all_frozen_in_a_transaction,
    "rebalance_storm": rebalance_storm,
    "scaled_1_2_3_1": scaled_1_2_3_1,
    "started_twice": started_twice,
    "broker_killed": broker_killed,
    "broker_restarted": broker_restarted,
    "broker_paused": broker_paused,
    "broker_paused_for_long": broker_paused,
    "clock_jumps": clock_jumps,
    "scrapers_that_hold_on": scrapers_that_hold_on,
    "poison_burst": poison_burst,
    "giant_customer": giant_customer,
    **STATE_KINDS,
    **TOPIC_KINDS,
}
