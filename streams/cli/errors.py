"""Where an expected error becomes a sentence and exit code 1. Anything else is a bug and keeps its trace."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from streams.cli import INTERRUPTED
from streams.cli.console import Failure, complain

EXPLAINED_ERRORS = (
    ("streams.broker_jars", "BrokerError"),
    ("streams.engine.topics", "RefusedToStart"),
    ("streams.engine.access", "NotAuthorized"),
    ("streams.engine.state_directory", "StateDirectoryError"),
    ("streams.engine.formats", "Unreadable"),
    ("streams.http.server", "CannotListen"),
)
"""Errors of other rooms whose message is a sentence for people."""


UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What the system says of an output that takes no more. Files that commands write have sentences of their own."""


class Commands(TyperGroup):
    """The group of all commands: runs one and turns what went wrong, if it was to be expected, into a sentence."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command line. A pipe that nobody reads any more is Typer's to end."""
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if error.filename is not None or error.errno not in UNWRITABLE:
                raise
            _give_stdout_up(error)

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            complain([" ".join(["interrupted", *interrupt.args])])
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            sentences = explain(error)
            if sentences is None:
                raise
            complain(sentences)
        raise typer.Exit(1)


def _give_stdout_up(error: OSError) -> NoReturn:
    # What is left in the buffer would fail once more when the interpreter ends, with a trace and another exit code.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    complain([f"the output cannot be written: {error.strerror}"])
    sys.exit(1)


def refuse(log_format: str, sentences: list[str]) -> None:
    """Say why a worker doesn't start, where its log is read: also then, `json` is one object a line."""
    if log_format == "text":
        complain(sentences)
        return
    import logging

    for sentence in sentences:
        logging.getLogger("streams.cli").critical(sentence)


def explain(error: Exception) -> list[str] | None:
    """Sentences for an error that is to be expected; None: it is not."""
    if isinstance(error, Failure):
        return [str(error)]
    # Only a module that was imported can have raised its error: none is imported here just to look.
    if (settings := sys.modules.get("streams.settings")) and isinstance(error, settings.SettingsError):
        return list(error.problems)
    if (config := sys.modules.get("streams.webhooks.config")) and isinstance(error, config.ConfigError):
        return list(error.problems)
    for module, name in EXPLAINED_ERRORS:
        if (loaded := sys.modules.get(module)) and isinstance(error, getattr(loaded, name)):
            return [str(error)]
    if (access := sys.modules.get("streams.engine.access")) and (refused := access.refusal_in(error)):
        return [refused]
    if (kafka := sys.modules.get("aiokafka.errors")) and isinstance(error, kafka.KafkaError):
        name = type(error).__name__.removesuffix("Error")
        return [f"Kafka refused or did not answer: {name}" + (f" ({error})" if error.args else "")]
    return None
