"""The playbook: whole as it comes, every hole of another one is named, and a question is in the customer's language."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files

import pytest

from schemas.playbook import (
    ACTIONS,
    LANGUAGES,
    REASONS,
    PlaybookError,
    default_playbook,
    parse_playbook,
)

TEXT = files("schemas").joinpath("playbook.toml").read_text("utf-8")


def problems_of(text: str) -> tuple[str, ...]:
    with pytest.raises(PlaybookError) as raised:
        parse_playbook(text)
    assert str(raised.value) == "\n".join(raised.value.problems)
    return raised.value.problems


def without(name: str) -> str:
    """The default's text without the line that begins so in a section `[section] name`."""
    section, _, key = name.rpartition(".")
    lines, current, dropped = [], "", 0
    for line in TEXT.splitlines():
        if line.startswith("["):
            current = line.strip("[]")
        if current == section and line.startswith(f"{key} ="):
            dropped += 1
            continue
        lines.append(line)
    assert dropped == 1, name
    return "\n".join(lines)


def test_the_default_has_an_action_and_a_question_for_everybody() -> None:
    playbook = default_playbook()
    assert set(playbook.actions) == {(reason, score) for reason in REASONS for score in (7, 8)}
    assert set(playbook.actions.values()) <= set(ACTIONS)
    assert playbook.languages == LANGUAGES
    questions = [question for by_language in playbook.questions.values() for question in by_language.values()]
    assert len(set(questions)) == len(REASONS) * len(LANGUAGES), "two are the same"
    for question in questions:
        assert question.endswith("?")
        assert len(question) <= 140, f"too long to be asked in passing: {question}"
        assert question == question.strip()


HOLES = [f"actions.{reason}.{score}" for reason in REASONS for score in (7, 8)]
HOLES += [f"questions.{reason}.{language}" for reason in REASONS for language in LANGUAGES]


@pytest.mark.parametrize("hole", HOLES)
def test_a_hole_is_named(hole: str) -> None:
    assert problems_of(without(hole)) == (f"{hole} is missing",)


def test_every_hole_is_named_at_once() -> None:
    assert len(problems_of("")) == 2 * len(REASONS)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('[actions.unknown]\n7 = "', '[actions.unknown]\n7 = "x', "actions.unknown.7 must be one of "),
        ('[actions.unknown]\n7 = "', '[actions.unknown]\n9 = "', "actions.unknown.7 is missing"),
        ("[actions.unknown]", "[actions.bored]", "actions.unknown is missing"),
        ("[questions.unknown]", "[questions.bored]", "questions.bored is for no known reason"),
        ("[questions.unknown]\nen", "[questions.unknown]\nEN", "questions: 'EN' is no language tag in lower case"),
        ("[questions.unknown]\n", '[questions.unknown]\nfr = "Et ?"\n', "questions.indifferent.fr is missing"),
        ("[questions.unknown]\nen = ", "[questions.unknown]\nen = 7 #", "questions.unknown.en must be a text of 1 to"),
        ('[questions.unknown]\nen = "', '[questions.unknown]\nen = "\\n', "questions.unknown.en must be one line"),
        ("[questions.unknown]", "[more]\n[questions.unknown]", "more is no part of a playbook"),
        ("[questions.unknown]", "[questions.unknown", "the playbook is not TOML: "),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, problem: str) -> None:
    assert old in TEXT
    assert any(each.startswith(problem) for each in problems_of(TEXT.replace(old, new)))


def test_a_text_in_place_of_a_table_is_named() -> None:
    text = re.sub(r"\[actions\.unknown\]\n7 = .*\n8 = .*\n", '[actions]\nunknown = "nothing"\n', TEXT)
    assert problems_of(text) == ("actions.unknown must be a table",)
    assert len(problems_of('actions = "nothing"')) == 2 * len(REASONS)


@pytest.mark.parametrize(
    ("language", "found"),
    [
        (None, "en"),
        ("en", "en"),
        ("en-GB", "en"),
        ("nb", "nb"),
        ("nb-NO", "nb"),
        ("NB-no", "nb"),
        ("no", "nb"),
        ("nn-NO", "nb"),
        ("nl-BE", "nl"),
        ("sv", "en"),
        ("x", "en"),
        ("nbx", "en"),
    ],
)
def test_a_question_is_in_the_customers_language(language: str | None, found: str) -> None:
    playbook = default_playbook()
    written = tomllib.loads(TEXT)["questions"]["indifferent"][found]
    assert playbook.follow_up_question("indifferent", language) == written


def test_an_exact_tag_and_a_language_of_its_own_come_first() -> None:
    text = TEXT
    for reason in REASONS:
        text = text.replace(f"[questions.{reason}]\n", f'[questions.{reason}]\nnl-be = "be"\nnn = "nn"\nsv = "sv"\n')
    playbook = parse_playbook(text)
    asked = {tag: playbook.follow_up_question("unknown", tag) for tag in ("nl-BE", "nn-NO", "sv-FI")}
    assert asked == {"nl-BE": "be", "nn-NO": "nn", "sv-FI": "sv"}
    assert playbook.follow_up_question("unknown", "nl-NL") != "be"


def test_actions_differ_by_score_and_reason() -> None:
    playbook = default_playbook()
    assert playbook.recommended_action("value_for_price", 7) == "tailored_offer"
    assert playbook.recommended_action("value_for_price", 8) == "incentive"
