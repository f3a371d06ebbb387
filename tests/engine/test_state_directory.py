"""The name that a state directory gives to whoever uses it."""

from __future__ import annotations

import shutil
from pathlib import Path

from streams.engine.state_directory import Owner, StateDirectory

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
