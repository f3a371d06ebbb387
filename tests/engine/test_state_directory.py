"""Whose a state directory is, and the name that it gives to whoever uses it."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streams.cli.application import app
from streams.engine.state_directory import (
    Owner,
    StateDirectory,
    StateDirectoryError,
    known_owner,
    partition_directory,
    remove_left_over,
)
from streams.engine.store import Checkpoint, Store

OWNER = Owner("cluster", "group", "nps.")


def instance_id(path: Path) -> str:
    directory = StateDirectory(path, OWNER).acquire()
    directory.release()
    return directory.instance_id


def test_a_directory_names_its_user_the_same_from_start_to_start_and_no_other_does(tmp_path: Path) -> None:
    first = instance_id(tmp_path / "a")
    assert len(first) > 32
    assert instance_id(tmp_path / "a") == first
    (tmp_path / "a").rename(tmp_path / "moved")
    assert instance_id(tmp_path / "moved") == first
    assert instance_id(tmp_path / "b") != first


def test_a_copy_is_another_user(tmp_path: Path) -> None:
    """Two living members of one name would drive each other out of the group without an end."""
    first = instance_id(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    assert instance_id(tmp_path / "copy") != first


def with_state(path: Path, owner: bytes) -> None:
    """A directory that was used, with a store, and with this in the file that tells whose it is."""
    StateDirectory(path, OWNER).acquire().release()
    with closing(Store(partition_directory(path, 0))) as store:
        store.write([(b"j1", b"1")], Checkpoint(1, 2, 3))
    (path / "owner.json").write_bytes(owner)


@pytest.mark.parametrize("owner", [b"", b'{"cluster_id":"clu', b"\0" * 80, b"\xff\xfe", b'["', b"7 of 9", b"nobody"])
def test_where_it_cannot_be_read_whose_it_is_the_state_is_built_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, owner: bytes
) -> None:
    """As docs/operations.md says of damaged state. A crash may leave such a file, as the disk sees fit."""
    path = tmp_path / "state"
    with_state(path, owner)
    doctor = CliRunner().invoke(
        app, ["doctor"], env={"NPS_STATE_DIR": str(path), "NPS_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    )
    assert "owner.json can't be read" in doctor.stdout
    before = instance_id_of(path)
    directory = StateDirectory(path, OWNER).acquire()
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert str(path / "owner.json") in warning
    assert "rebuilding" in warning
    assert known_owner(path) == OWNER
    assert directory.instance_id == before
    with closing(Store(partition_directory(path, 0))) as store:
        assert store.checkpoint is None
    remove_left_over(path)
    assert sorted(each.name for each in path.iterdir()) == ["instance-id", "lock", "owner.json", "partition-0"]
    directory.release()
    with closing(Store(partition_directory(path, 0))) as store:
        store.write([(b"j1", b"1")], Checkpoint(1, 2, 3))
    StateDirectory(path, OWNER).acquire().release()
    with closing(Store(partition_directory(path, 0))) as store:
        assert store.checkpoint == Checkpoint(1, 2, 3), "only once"


def instance_id_of(path: Path) -> str:
    file = path / "instance-id"
    return f"{file.read_text()}-{file.stat().st_ino}"


@pytest.mark.parametrize(
    ("owner", "said"),
    [
        (b'{"cluster_id":"cluster","group_id":"other","topic_prefix":"nps."}', "belongs to group 'other'"),
        (b'{"cluster_id":"other","group_id":"group","topic_prefix":"nps."}', "belongs to Kafka cluster 'other'"),
        (b'{"cluster_id":"cluster","group_id":"group","topic_prefix":"nps.","format":2}', "by a newer release"),
        (b'{"whose":"of a newer release"}', "can't be understood"),
    ],
)
def test_what_is_somebody_elses_is_left_alone(tmp_path: Path, owner: bytes, said: str) -> None:
    with_state(tmp_path / "state", owner)
    with pytest.raises(StateDirectoryError, match=said):
        StateDirectory(tmp_path / "state", OWNER).acquire()
    with closing(Store(partition_directory(tmp_path / "state", 0))) as store:
        assert store.checkpoint == Checkpoint(1, 2, 3)


def test_what_a_living_worker_uses_is_left_alone_whatever_it_is(tmp_path: Path) -> None:
    with_state(tmp_path / "state", b'{"cluster_id":"cluster","group_id":"group","topic_prefix":"nps."}')
    living = StateDirectory(tmp_path / "state", OWNER).acquire()
    (tmp_path / "state" / "owner.json").write_bytes(b"")
    with pytest.raises(StateDirectoryError, match="in use by a living worker"):
        StateDirectory(tmp_path / "state", OWNER).acquire()
    assert partition_directory(tmp_path / "state", 0).exists()
    living.release()
