"""What `nps doctor` looks at, in order, and what each finding means. Looking changes nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from streams.cli import kafka
from streams.cli.console import plural
from streams.cli.errors import explain
from streams.engine.state_directory import OwnerDamaged, StateDirectoryError, known_owner
from streams.settings import Settings, SettingsError

FREE_DISK_WARN_BYTES = 2 << 30
FREE_DISK_FAIL_BYTES = 256 << 20


class Verdict(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    INFO = "info"
    WARN = "warn"
    FAIL = "fail"


class Finding(NamedTuple):
    """One thing that was looked at."""

    check: str
    verdict: Verdict
    found: str
    """What is the case, in a sentence."""
    advice: str = ""
    """What to do; empty when there is nothing to do."""


async def examine() -> list[Finding]:
    """Look at everything that can be looked at. What depends on something that failed is left out."""
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        return [
            *(Finding("settings", Verdict.FAIL, problem, "correct that variable") for problem in error.problems),
            *broker_tools(),
        ]
    return [check_settings(settings), *await _cluster(settings), *state_directory(settings), *broker_tools()]


async def _cluster(settings: Settings) -> list[Finding]:
    """Everything that is asked of Kafka. One check that cannot be made says so and keeps the others."""
    from streams.cli import doctor_kafka

    findings: list[Finding] = []
    try:
        async with kafka.connected(settings, kafka.admin(settings)) as admin:
            findings += await doctor_kafka.broker(admin)
            for name, check in doctor_kafka.CHECKS:
                try:
                    findings += await check(settings, admin)
                except Exception as error:
                    findings += _failed(name, error)
    except Exception as error:
        findings += _failed("broker", error, "then run nps doctor again")
    return findings


def _failed(check: str, error: Exception, advice: str = "") -> list[Finding]:
    """What kept a check from being made. Raises the error again where it was not to be expected."""
    sentences = explain(error)
    if sentences is None:
        raise error
    return [Finding(check, Verdict.FAIL, sentence, advice) for sentence in sentences]


def check_settings(settings: Settings) -> Finding:
    """They are valid, or there would be none; what is sent in the clear is still worth a word."""
    changed = len(settings.model_fields_set)
    found = f"valid; {plural(changed, 'setting')} from the environment" if changed else "valid, all at their defaults"
    if settings.security_protocol == "SASL_PLAINTEXT" and settings.sasl_mechanism == "PLAIN":
        return Finding(
            "settings", Verdict.WARN, f"{found}; the password for Kafka is sent in the clear", "use SASL_SSL or SCRAM"
        )
    return Finding("settings", Verdict.OK, found)


def state_directory(settings: Settings) -> Iterable[Finding]:
    """Whether a worker could keep its state there: writable, not in use by another, its own, room on the disk."""
    name, path = "state directory", settings.state_dir
    existing = path
    try:
        while not existing.exists():
            existing = existing.parent
        if not existing.is_dir():
            raise NotADirectoryError(20, "there is a file of that name")
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        yield Finding(name, Verdict.FAIL, f"{path} cannot be written: {error.strerror}", "set NPS_STATE_DIR")
        return
    try:
        owner = known_owner(path)
    except StateDirectoryError as error:
        yield Finding(name, Verdict.FAIL, str(error))
        return
    except OwnerDamaged as error:
        yield Finding(name, Verdict.WARN, str(error), "none needed: a worker rebuilds its state from the changelogs")
        return
    holder = _lock_holder(path)
    if owner is not None and (owner.group_id, owner.topic_prefix) != (settings.group_id, settings.topic_prefix):
        belongs = f"{path} belongs to group {owner.group_id!r} with topic prefix {owner.topic_prefix!r}"
        yield Finding(name, Verdict.FAIL, belongs, "set another NPS_STATE_DIR, or the NPS_GROUP_ID and prefix it is of")
    elif holder is not None:
        yield Finding(name, Verdict.OK, f"{path} is in use by a living worker (pid {holder})")
    else:
        yield Finding(name, Verdict.OK, f"{path} is writable" + ("" if path.exists() else "; a worker will create it"))
    free = shutil.disk_usage(existing).free
    advice = "make room, or set NPS_STATE_DIR to another disk"
    found = f"{free / (1 << 30):.1f} GiB free"
    if free < FREE_DISK_FAIL_BYTES:
        yield Finding("disk", Verdict.FAIL, found, advice)
    elif free < FREE_DISK_WARN_BYTES:
        yield Finding("disk", Verdict.WARN, found, advice)
    else:
        yield Finding("disk", Verdict.OK, found)


def _lock_holder(path: Path) -> str | None:
    """The process that has locked the state directory; None: nobody. Only a shared lock is tried, for an instant."""
    import fcntl

    try:
        lock = (path / "lock").open("rb")
    except OSError:
        return None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return lock.read(20).decode(errors="replace").strip() or "unknown"
    return None


def broker_tools() -> Iterable[Finding]:
    """What `nps broker` needs; nothing else does."""
    from streams.broker import broker_problem

    problem = broker_problem()
    if problem is None:
        yield Finding("development broker", Verdict.INFO, "nps broker start can run Kafka on this machine")
    else:
        yield Finding("development broker", Verdict.INFO, "nps broker cannot run Kafka on this machine", problem)
