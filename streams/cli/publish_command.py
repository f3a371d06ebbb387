"""`nps publish`: responses from a file or a pipe to Kafka, with a summary of what was refused."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from streams.cli.choices import FileFormat, RecordTime
from streams.cli.console import Failure, JsonFlag, plural, say, show_json, stderr

if TYPE_CHECKING:
    from streams.cli.file_lines import Lines
    from streams.cli.publishing import Refusal, Summary

STDIN = "-"
REFUSALS_SHOWN = 100


def publish(
    file: Annotated[str, typer.Argument(metavar="FILE", help="File of responses; - reads standard input.")],
    form: Annotated[
        FileFormat | None, typer.Option("--format", help="Default: by the file's extension, NDJSON for a pipe.")
    ] = None,
    record_time: Annotated[
        RecordTime, typer.Option(help="Record time: now, or when the answer was given (to replay history).")
    ] = RecordTime.NOW,
    refused: Annotated[
        Path | None, typer.Option("--refused", help="Write every refused line and its reason to this file, as NDJSON.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Publish survey responses.

    Each line is judged first, exactly as a worker would judge it, and published only if it is a response. Refused lines
    are reported with their reason (never their content), and the command ends with exit code 1.

    NDJSON: one response a line. CSV: columns are named like the fields, segments as segment_<name>; an empty cell is an
    absent field, a column that is no field is left out.

    With --record-time responded-at, answers older than the topic's retention may be dropped by Kafka before anybody
    reads them; the summary counts them.
    """
    import asyncio

    from streams.cli.output_file import CannotWrite
    from streams.cli.publishing import CannotRead, Summary, publish
    from streams.cli.response_files import lines_of, read
    from streams.settings import Settings

    settings = Settings.from_environment()
    form = form or _format_of(file)
    with _opened(file) as stream, _refusals(refused, stream) as keep, _progress(file) as (tell, on_progress):
        lines = lines_of(stream, form)
        responses = read(lines, form, lambda remark: tell(f"note: {remark}"))
        shown = 0

        def on_refusal(refusal: Refusal) -> None:
            nonlocal shown
            keep(refusal)
            shown += 1
            if shown <= REFUSALS_SHOWN:
                tell(f"line {refusal.line.number}: {refusal.reason}: {refusal.message}")
            elif shown == REFUSALS_SHOWN + 1:
                tell("… further refused lines are only counted; --refused FILE writes all of them")

        summary = Summary()
        try:
            asyncio.run(
                publish(
                    settings,
                    lines,
                    responses,
                    record_time,
                    summary,
                    on_refusal,
                    lambda: on_progress(lines, summary),
                )
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(summary.so_far) from None
        except CannotWrite as error:
            raise Failure(f"{error} {summary.so_far}") from None
        except CannotRead as error:
            raise Failure(f"{file} cannot be read: {error} {summary.so_far}") from None
    _report(summary, as_json)
    if summary.refused:
        raise typer.Exit(1)


def _format_of(file: str) -> FileFormat:
    suffix = Path(file).suffix.lower()
    if suffix == ".csv":
        return FileFormat.CSV
    if file == STDIN or suffix in {".ndjson", ".jsonl", ".json"}:
        return FileFormat.NDJSON
    try:
        Path(file).stat()
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}") from None
    raise typer.BadParameter(f"cannot tell the format of {file} by its extension; say --format ndjson or csv")


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == STDIN:
        if sys.stdin is None:
            raise Failure("standard input is closed: there is nothing to read")
        # Unbuffered: a thread waits in it, and a buffer's lock held by a thread would break the interpreter's end.
        yield open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115
        return
    try:
        stream = open(file, "rb")  # noqa: SIM115
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}") from None
    with stream:
        yield stream


@contextmanager
def _refusals(path: Path | None, source: BinaryIO) -> Iterator[Callable[[Refusal], None]]:
    """What keeps refused lines: a file that only its owner can read, for they hold personal data."""
    if path is None:
        yield lambda _: None
        return
    try:
        is_source = os.path.samestat(path.stat(), os.fstat(source.fileno()))
    except FileNotFoundError:
        is_source = False
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}") from None
    if is_source:
        raise Failure(f"{path} is the file to publish: name another for the refused lines")
    from streams.cli.output_file import CannotWrite, OutputFile

    out = OutputFile(path, private=True)
    try:
        yield lambda refusal: _write_refusal(out, refusal)
    finally:
        with suppress(CannotWrite):  # each line was flushed: what could not be written has been told of
            out.close()


def _write_refusal(out: BinaryIO, refusal: Refusal) -> None:
    row: dict[str, object] = {"line": refusal.line.number, "reason": refusal.reason, "message": refusal.message}
    try:
        row["original"] = refusal.line.original.decode()
    except UnicodeDecodeError:
        row["original_base64"] = base64.b64encode(refusal.line.original).decode()
    out.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    out.flush()  # a disk that is full is told of while it can be said how far the file was published


@contextmanager
def _progress(file: str) -> Iterator[tuple[Callable[[str], None], Callable[[Lines, Summary], None]]]:
    """A progress bar on a terminal, by the file's bytes; and a way to speak without breaking it."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    total = None if file == STDIN else Path(file).stat().st_size
    console = stderr()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("publishing", total=total or None)

        def on_progress(lines: Lines, summary: Summary) -> None:
            refused = sum(summary.refused.values())
            text = f"{summary.published:,} published" + (f", {refused:,} refused" if refused else "")
            progress.update(task, completed=lines.bytes_read, description=text)

        yield lambda sentence: console.print(sentence, markup=False), on_progress


def _report(summary: Summary, as_json: bool) -> None:
    refused = sum(summary.refused.values())
    reasons = dict(sorted(summary.refused.items()))
    if as_json:
        show_json({"published": summary.published, "refused": refused, "reasons": reasons, "expired": summary.expired})
    text = f"{plural(summary.published, 'response')} published"
    if refused:
        text += f", {refused:,} refused ({', '.join(f'{reason} {count:,}' for reason, count in reasons.items())})"
    say(text)
    if summary.expired:
        say(f"{summary.expired:,} of them are older than the topic keeps records: Kafka may drop them unread")
