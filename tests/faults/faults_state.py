"""The kinds of faults that befall a worker's state directory. It is a cache: what is gone is read again from Kafka, and
a disk that can't be used ends the worker with one sentence.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.faults.faults_feed import imported
from tests.faults.faults_scene import ENDS_WITHIN_S, Scene

NEEDS_DISKS = ("state_read_only", "disk_full")
MEMTABLE_RECORDS = 3_500
"""Long comments that are more than a memtable holds."""
IMPORTED_PARTITIONS = 2


@contextmanager
def state_deleted(scene: Scene, worker: str, how: str, seed: int) -> Iterator[None]:
    subject = scene.subjects[worker]
    if how == "while down":
        subject.kill()
        shutil.rmtree(subject.state_dir)
        yield
        subject.start()
        return
    scene.until_alive(worker)
    subject.should_run = False  # it ends at its next attempt to write there, whenever that is
    shutil.rmtree(subject.state_dir, ignore_errors=True)
    yield
    if subject.process.running:
        status = subject.process.sigterm()
        assert status in (0, 1), f"ended with {status}"
    if subject.process.wait(0) == 1:
        scene.until_ended(worker, str(subject.state_dir))
    subject.start()


@contextmanager
def state_truncated(scene: Scene, worker: str, how: str, seed: int) -> Iterator[None]:
    """Of a worker that was killed. It finds out when it opens them."""
    subject = scene.subjects[worker]
    subject.kill()
    rng = random.Random(seed)
    for file in _some_files(subject.state_dir, rng, "*.sst", "MANIFEST-*", "CURRENT"):
        os.truncate(file, int(file.stat().st_size * rng.random()) if how == "files cut" else 0)
    yield
    subject.start()


@contextmanager
def state_damaged(scene: Scene, worker: str, how: str, seed: int) -> Iterator[None]:
    """Bits change. It is found when they are read, which may be at any moment, and heals without an end."""
    subject = scene.subjects[worker]
    if how == "while down":
        subject.kill()
    rng = random.Random(seed)
    for file in _some_files(subject.state_dir, rng, "*.sst"):
        _change_bits(file, rng)
    if how == "while down":
        subject.start()
    yield


def _some_files(state_dir: Path, rng: random.Random, *patterns: str) -> list[Path]:
    found = sorted(file for pattern in patterns for file in state_dir.glob(f"partition-*/{pattern}"))
    return rng.sample(found, min(len(found), rng.randint(1, 4)))


def _change_bits(file: Path, rng: random.Random) -> None:
    """One in each 4 KiB, in place."""
    try:
        with file.open("r+b") as opened:
            size = file.stat().st_size
            for start in range(0, size, 4096):
                at = min(start + rng.randrange(4096), size - 1)
                opened.seek(at)
                (byte,) = opened.read(1)
                opened.seek(at)
                opened.write(bytes([byte ^ 1 << rng.randrange(8)]))
    except FileNotFoundError:  # compacted away just now
        pass


@contextmanager
def state_read_only(scene: Scene, worker: str, how: str, seed: int) -> Iterator[None]:
    disk = scene.subjects[worker].disk
    assert disk is not None
    with _disk_that_fails(scene, worker, how, seed, disk.make_read_only, disk.make_writable, "Read-only file system"):
        yield


@contextmanager
def disk_full(scene: Scene, worker: str, how: str, seed: int) -> Iterator[None]:
    disk = scene.subjects[worker].disk
    assert disk is not None
    with _disk_that_fails(scene, worker, how, seed, disk.fill, disk.make_room, "No space left on device"):
        yield


@contextmanager
def _disk_that_fails(
    scene: Scene,
    worker: str,
    how: str,
    seed: int,
    fail: Callable[[], None],
    heal: Callable[[], None],
    reason: str,
) -> Iterator[None]:
    """At a start or while it runs, the worker ends by itself and says why. It can stop in order all the same."""
    subject = scene.subjects[worker]
    if how == "at start":
        subject.kill()
    else:
        scene.until_ready(worker)
    fail()
    try:
        scene.began()
        if how == "at start":
            subject.start(should_run=False)
        elif how == "at stop":
            scene.stop(worker)
        else:
            subject.should_run = False
            for partition in subject.owned[:IMPORTED_PARTITIONS]:
                scene.feed.throw_in(imported(seed, partition, scene.plan.partitions, MEMTABLE_RECORDS))
        if how != "at stop":
            scene.until_ended(worker, str(subject.state_dir), reason, timeout_s=2 * ENDS_WITHIN_S)
        yield
    finally:
        heal()
    subject.start()


STATE_KINDS: dict[str, Callable[..., AbstractContextManager[None]]] = {
    "state_deleted": state_deleted,
    "state_truncated": state_truncated,
    "state_damaged": state_damaged,
    "state_read_only": state_read_only,
    "disk_full": disk_full,
}
