"""CPU time of the rules, per record: `.venv/bin/python -m tests.bench.rules`.

Targets on one core of 2020s server hardware: 2 µs for an answer without an event, 5 µs with one, 0.3 µs for a cached
placement. The best of several runs is printed: others share the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from timeit import repeat

from schemas.response import SurveyResponse
from schemas.times import US_PER_DAY
from streams.rules.decisions import RulesConfig, decide, decide_anonymous, erase
from streams.rules.journey import Journey
from streams.rules.scores import score, score_row
from streams.rules.segments import Places

NOW_MS = 1_795_000_000_000
CONFIG = RulesConfig(30 * US_PER_DAY, 30 * US_PER_DAY, 400 * US_PER_DAY, frozenset({"passive_to_promoter"}))
SEGMENTS = {"country": "NO", "industry": "bank", "plan": "gold"}
RUNS, LOOPS = 9, 20_000


def response(number: int, score: int, age_days: float = 0, revision: int = 0) -> SurveyResponse:
    return SurveyResponse(
        response_id=f"response-{number:08}",
        customer_id="customer-000042",
        survey_id="relational",
        score=score,
        responded_at=NOW_MS * 1000 - int(age_days * US_PER_DAY),
        revision=revision,
        segments=SEGMENTS,
        comment="Does what it should.",
        language="en",
        reason="indifferent",
        csat=4,
        account_id="account-7",
    )


def journey(*scores: int) -> Journey:
    """A journey of these scores, a day apart, the last one a day before now."""
    state = None
    for number, given in enumerate(scores):
        age_days = len(scores) - number
        state = decide(CONFIG, "customer-000042", state, response(number, given, age_days), NOW_MS).journey
    assert state is not None
    return state


def measure(name: str, call: Callable[[], object]) -> None:
    best = min(repeat(call, number=LOOPS, repeat=RUNS)) / LOOPS
    print(f"{best * 1e6:6.2f} µs  {name}")


def main() -> None:
    promoter, passive, old = response(99, 9), response(99, 8), response(98, 9, 100)
    short, full = journey(9, 4, 10), journey(*[9] * 32)
    passives = journey(9, 7, 7)
    edit, anonymous = response(2, 8, 1, revision=1), response(99, 7)

    def bench(name: str, state: Journey | None, given: SurveyResponse) -> None:
        measure(name, lambda: decide(CONFIG, "customer-000042", state, given, NOW_MS))

    bench("promoter, first answer", None, promoter)
    bench("promoter, history of 3", short, promoter)
    bench("promoter, history of 32", full, promoter)
    bench("passive, first answer: detected", None, passive)
    bench("passive, history of 3: detected", short, passive)
    bench("passive, cooling down", passives, passive)
    bench("passive to promoter: changed", passives, promoter)
    bench("late, history of 3", short, old)
    bench("amended, history of 3: detected", short, edit)
    bench("duplicate, history of 3", short, response(2, 10, 1))
    measure("anonymous, new", lambda: decide_anonymous(CONFIG, None, anonymous, NOW_MS, NOW_MS))
    measure("erase, one open detection", lambda: erase(CONFIG, "customer-000042", {"relational": passives}))

    places = Places(10_000)
    measure("placement, cached, 3 segments", lambda: places.rows_of("relational", SEGMENTS))
    measure("score of counters", lambda: score((10, 20, 30, 40, 50, 200)))
    measure("score row", lambda: score_row("relational", "all", "7d", NOW_MS * 1000, (10, 20, 30, 40, 50, 200)))


if __name__ == "__main__":
    main()
