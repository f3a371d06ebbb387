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
    again = [right for right in roles.dead_letters(replays=True) if right not in roles.dead_letters()]
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
            *_rows("who reads dead letters", roles.dead_letters()),
            *_rows("who reads dead letters, only to replay", again),
        ]
    )


def _rows(who: str, rights: Iterable[Right]) -> list[str]:
    return [
        f"| {who} | {right.operation} | {right.resource} | `{right.name}{'*' * right.prefixed}` | {right.why} |"
        for right in rights
    ]


if __name__ == "__main__":
    print(table())
