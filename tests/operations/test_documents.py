"""The documents as a whole: links lead somewhere, decisions are numbered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DECISIONS = sorted((ROOT / "docs/decisions").glob("*.md"))
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *DECISIONS, *ROOT.glob("schemas/**/*.md")]


def anchors(document: Path) -> set[str]:
    """The anchors that a reader's browser finds, by GitHub's rule."""
    headings = re.findall(r"^#+ (.*)$", document.read_text("utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_lead_somewhere(document: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_files_that_are_named_exist(document: Path) -> None:
    named = re.findall(r"`((?:docs|schemas|streams|tests|deploy)/[\w./-]+)`", document.read_text("utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_tests_that_are_named_exist() -> None:
    named = [found for each in DOCUMENTS for found in re.findall(r"(tests/[\w/]+\.py)::(\w+)", each.read_text("utf-8"))]
    assert named
    assert [name for name in named if f"def {name[1]}(" not in (ROOT / name[0]).read_text("utf-8")] == []


def test_decisions_have_numbers_of_their_own_and_say_them() -> None:
    numbers = [document.name.split("-")[0] for document in DECISIONS]
    assert len(numbers) == len(set(numbers))
    for number, document in zip(numbers, DECISIONS, strict=True):
        assert document.read_text("utf-8").startswith(f"# {number} "), document.name
