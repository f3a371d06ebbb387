"""The table of rights in docs/security.md: `python -m tests.security.acl_table` prints it."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.access import Right, Roles
from schemas.topics import Topics

CRM_GROUP = "crm"


def table() -> str:
    """Markdown, for the default prefix and group."""
    roles = Roles(Topics(), "nps")
    creating = set(roles.worker(creates_topics=True)) - set(roles.worker(creates_topics=False))
    replaying = set(roles.publisher(replays=True)) - set(roles.publisher())
    creating_its_topic = set(roles.webhooks(creates_topics=True)) - set(roles.webhooks())
    again = [right for right in roles.dead_letters(replays=True) if right not in roles.dead_letters()]
    follow_ups_again = [
        right
        for right in roles.dead_letters(replays=True, follow_ups=True)
        if right not in roles.dead_letters(follow_ups=True)
    ]
    return "\n".join(
        [
            "| who | operation | resource | name | what for |",
            "|---|---|---|---|---|",
            *_rows("worker", roles.worker(creates_topics=False)),
            *_rows("worker, only if it shall create topics", creating),
            *_rows("publisher", roles.publisher()),
            *_rows("publisher, only to replay", replaying),
            *_rows("CRM", roles.crm(CRM_GROUP)),
            *_rows("operator", roles.operator()),
            *_rows("webhooks", roles.webhooks()),
            *_rows("webhooks, only if it shall create its topic", creating_its_topic),
            *_rows("who replays webhooks", roles.webhooks_replay()),
            *_rows("intake", roles.intake()),
            *_rows("who reads dead letters", roles.dead_letters()),
            *_rows("who reads dead letters, only to replay", again),
            *_rows("who reads those of follow-ups (`--follow-ups`)", roles.dead_letters(follow_ups=True)),
            *_rows("who reads those of follow-ups, only to replay", follow_ups_again),
        ]
    )


def _rows(who: str, rights: Iterable[Right]) -> list[str]:
    return [
        f"| {who} | {right.operation} | {right.resource} | `{right.name}{'*' * right.prefixed}` | {right.why} |"
        for right in rights
    ]


if __name__ == "__main__":
    print(table())
