"""`nps schemas`: what travels, as JSON Schema, AsyncAPI and OpenAPI."""

from __future__ import annotations

from importlib.resources import files
from pathlib import PurePath
from typing import Annotated

import typer

from streams.cli.console import Failure, JsonFlag, show, show_json

ASYNCAPI = "asyncapi"
OPENAPI = "openapi"


def schemas(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Print this one; without it, list them.", show_default=False)
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the schemas of what travels, or print one: a message's JSON Schema, the AsyncAPI or OpenAPI document."""
    documents = _documents()
    if name is not None:
        text = documents.get(name)
        if text is None:
            raise Failure(f"there is no schema {name!r}; there are {', '.join(documents)}")
        if as_json and name == ASYNCAPI:
            raise typer.BadParameter("the AsyncAPI document is YAML; leave --json out")
        typer.echo(text, nl=not text.endswith("\n"))
        return
    about = {each: _title(each, text) for each, text in documents.items()}
    if as_json:
        show_json([{"name": each, "title": title} for each, title in about.items()])
        return
    from rich.table import Table

    table = Table("Name", "What", box=None, pad_edge=False, header_style="bold")
    for each, title in about.items():
        table.add_row(each, title)
    show(table)


def _title(name: str, text: str) -> str:
    import json

    if name == ASYNCAPI:
        return "AsyncAPI 3 document of all topics and messages"
    if name == OPENAPI:
        return "OpenAPI 3.1 document of nps intake"
    document = json.loads(text)
    return str(document.get("description") or document.get("title") or "").split("\n")[0]


def _documents() -> dict[str, str]:
    """Name → text, of the files that are part of the package."""
    root = files("schemas")
    found = {
        PurePath(entry.name).name.removesuffix(".json").removesuffix(".schema"): entry.read_text(encoding="utf-8")
        for entry in sorted(root.joinpath("json").iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".json")
    }
    documents = {ASYNCAPI: root.joinpath("asyncapi.yaml"), OPENAPI: root.joinpath("openapi.json")}
    return found | {name: each.read_text(encoding="utf-8") for name, each in documents.items() if each.is_file()}
