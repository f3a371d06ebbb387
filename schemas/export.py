"""Writes the JSON Schemas, AsyncAPI and OpenAPI documents into this package: `python -m schemas.export [--check]`.

`--check` writes nothing and fails, naming the files, when a committed one is not what the code says.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import yaml

from schemas import openapi
from schemas.asyncapi import document
from schemas.json_schema import file_name, json_schemas

FOLDER: Final = Path(__file__).parent
DOCUMENT_VERSION: Final = "1"
"""Of the AsyncAPI document: that of the contract, as in the `.v1` of every schema's name."""


class _Dumper(yaml.SafeDumper):
    """Writes a value each time that it occurs; aliases are for machines."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def exported() -> dict[str, str]:
    """Return the text of every exported file by its path under this package."""
    files = {
        f"json/{file_name(name)}": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in json_schemas().items()
    }
    head = "# Written by `python -m schemas.export` from the code; edit that.\n"
    files["asyncapi.yaml"] = head + yaml.dump(
        document(DOCUMENT_VERSION), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120
    )
    files["openapi.json"] = json.dumps(openapi.document(), indent=2, ensure_ascii=False) + "\n"
    return files


def outdated(folder: Path = FOLDER) -> list[str]:
    """Return the paths, under `folder`, of files that are missing, differ from the code, or are no longer exported."""
    files = exported()
    wrong = [path for path, text in files.items() if not _holds(folder / path, text)]
    present = {f"json/{path.name}" for path in (folder / "json").glob("*")}
    return sorted({*wrong, *(present - files.keys())})


def write(folder: Path = FOLDER) -> None:
    """Write every file, and delete exported ones that are no longer made."""
    files = exported()
    for path in outdated(folder):
        target = folder / path
        if path in files:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(files[path], encoding="utf-8")
        else:
            target.unlink()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m schemas.export", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a committed file is not current")
    if not parser.parse_args(arguments).check:
        write()
        return 0
    stale = outdated()
    if stale:
        sys.stderr.write(f"not current, run `python -m schemas.export`: {', '.join(stale)}\n")
    return 1 if stale else 0


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
