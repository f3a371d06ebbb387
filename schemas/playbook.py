"""The playbook: what to do about a passive customer, and what to ask, by why the customer is passive.

Read from TOML, as in `playbook.toml` beside this module, which is used where no other is named.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Final, get_args

from schemas.fields import Action, ReasonGiven

UNKNOWN: Final = "unknown"
"""Stands for the reason where the customer gave none and nobody has learned any."""
REASONS: Final[tuple[str, ...]] = (*get_args(ReasonGiven), UNKNOWN)
ACTIONS: Final[tuple[str, ...]] = get_args(Action)
PASSIVE_SCORES: Final = (7, 8)
LANGUAGES: Final = ("en", "nb", "nl")
"""Those that every playbook has."""
FALLBACK: Final = "en"
NORWEGIAN: Final = {"no": "nb", "nn": "nb"}
"""Primary tags that use another's question, where the playbook has none of their own."""
QUESTION_MAX_CHARACTERS: Final = 500
LANGUAGES_REMEMBERED: Final = 4_096
"""Tags that were resolved lately; publishers write them."""

_TAG: Final = re.compile(r"[a-z]{1,8}(?:-[a-z0-9]{1,8})*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class PlaybookError(ValueError):
    """A playbook is not whole. `problems`: one sentence each, that names the place."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems: Final = problems


class Playbook:
    """A whole playbook. Never changed once made."""

    def __init__(self, actions: Mapping[tuple[str, int], str], questions: Mapping[str, Mapping[str, str]]) -> None:
        """`actions`: (reason, score) → action; `questions`: reason → language → question."""
        self.actions: Final = dict(actions)
        self.questions: Final = {reason: dict(by_language) for reason, by_language in questions.items()}
        self.languages: Final = tuple(sorted(self.questions[UNKNOWN]))
        self._resolved = lru_cache(LANGUAGES_REMEMBERED)(self._resolve)

    def recommended_action(self, reason: str, score: int) -> str:
        """Return what to do about a customer who is passive with this score, 7 or 8, for this reason."""
        return self.actions[reason, score]

    def follow_up_question(self, reason: str, language: str | None) -> str:
        """Return what to ask, in the language of a tag such as `nb-NO` if there is one, else in English."""
        return self.questions[reason][self._resolved(language)]

    def _resolve(self, language: str | None) -> str:
        """Return the playbook's language for a tag: the tag itself, its primary part, English."""
        if language is None:
            return FALLBACK
        tag = language.lower()
        primary = tag.partition("-")[0]
        for each in (tag, primary, NORWEGIAN.get(primary, FALLBACK)):
            if each in self.languages:
                return each
        return FALLBACK


def parse_playbook(text: str) -> Playbook:
    """Read a playbook's TOML. Raises PlaybookError with everything that is wrong or missing."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PlaybookError((f"the playbook is not TOML: {error}",)) from None
    problems = tuple(_problems(document))
    if problems:
        raise PlaybookError(problems)
    actions = {(reason, score): document["actions"][reason][str(score)] for reason in REASONS for score in (7, 8)}
    return Playbook(actions, document["questions"])


@cache
def default_playbook() -> Playbook:
    """Return the playbook that comes with this package."""
    return parse_playbook(files("schemas").joinpath("playbook.toml").read_text(encoding="utf-8"))


def _problems(document: Mapping[str, Any]) -> Iterator[str]:
    for name in document:
        if name not in ("actions", "questions"):
            yield f"{name} is no part of a playbook, which has actions and questions"
    yield from _problems_of_actions(document)
    yield from _problems_of_questions(document)


def _problems_of_actions(document: Mapping[str, Any]) -> Iterator[str]:
    scores = tuple(map(str, PASSIVE_SCORES))
    for reason, by_score, problem in _by_reason(document, "actions"):
        if problem:
            yield problem
            continue
        for score in scores:
            if score not in by_score:
                yield f"actions.{reason}.{score} is missing"
            elif by_score[score] not in ACTIONS:
                yield f"actions.{reason}.{score} must be one of {', '.join(ACTIONS)}"
        for score in by_score:
            if score not in scores:
                yield f"actions.{reason}.{score} is for no passive score: those are {' and '.join(scores)}"


def _problems_of_questions(document: Mapping[str, Any]) -> Iterator[str]:
    sections = list(_by_reason(document, "questions"))
    languages = {*LANGUAGES}.union(*(by_language for _, by_language, problem in sections if not problem))
    for language in sorted(languages):
        if _TAG.fullmatch(language) is None:
            yield f"questions: {language!r} is no language tag in lower case, such as nb or pt-br"
    for reason, by_language, problem in sections:
        if problem:
            yield problem
            continue
        for language in sorted(languages):
            at = f"questions.{reason}.{language}"
            question = by_language.get(language)
            if question is None:
                yield f"{at} is missing"
            elif not isinstance(question, str) or not question.strip() or len(question) > QUESTION_MAX_CHARACTERS:
                yield f"{at} must be a text of 1 to {QUESTION_MAX_CHARACTERS} characters"
            elif _CONTROL.search(question):
                yield f"{at} must be one line without control characters"


def _by_reason(document: Mapping[str, Any], part: str) -> Iterator[tuple[str, Mapping[str, Any], str | None]]:
    """Reason, what is there for it, and what is wrong with that as a whole."""
    section = document.get(part, {})
    if not isinstance(section, dict):
        section = {}
    for reason in REASONS:
        found = section.get(reason)
        if found is None:
            yield reason, {}, f"{part}.{reason} is missing"
        elif not isinstance(found, dict):
            yield reason, {}, f"{part}.{reason} must be a table"
        else:
            yield reason, found, None
    for reason in section:
        if reason not in REASONS:
            yield reason, {}, f"{part}.{reason} is for no known reason: those are {', '.join(REASONS)}"
