"""The `tables` profile: few customers with long journeys, every corner of the rules, and stories that must go right."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

from tests.support import corpus_fields as odd
from tests.support.corpus_stories import STORIES, SlowStory
from tests.support.oracle_reading import partition_of, time_text

DAY_MS = 86_400_000
DAY_US = DAY_MS * 1000
Headers = Sequence[tuple[str, bytes | None]]
Made = tuple[int, bytes | None, bytes | None, int, Headers]
HEADERS: tuple[Headers, ...] = (
    (("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),),
    (("empty", b""), ("none", None), ("twice", b"1"), ("twice", b"\xff\x00")),
    (("nps.error.reason", b"from_future"), ("__connect.errors.offset", b"12")),  # it was a dead letter once
)


class Tables:
    """One corpus; iterate it once. `now_ms` bounds its record times, `partitions` only places its records.

    Record times come in three phases: 130 days ago, 70 days ago (so that anonymous memory of 100 days keeps some and
    forgets others, none near the edge), and the last three hours. No counted day is near the end of its retention.
    """

    def __init__(self, seed: int, count: int, now_ms: int, partitions: int) -> None:
        self.rng = random.Random(seed)
        self.count = count
        self.partitions = partitions
        self.numbers = itertools.count()
        self.journeys: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.anonymous: list[dict[str, Any]] = []
        self.erased: list[dict[str, Any]] = []
        self.slow: list[SlowStory] = []
        self.invalid_fields = self._dealt(odd.INVALID_FIELDS)
        self.invalid_json = self._dealt(odd.INVALID_JSON + odd.NOT_OBJECTS)
        self.manners = self._dealt(range(9))
        self.stories = itertools.cycle(STORIES)
        first, second = count // 12, count // 20
        third = count - first - second
        spans = ((130 * DAY_MS, first), (70 * DAY_MS, second), (DAY_MS // 8 + 60_000, third))
        self.clock_ms = [
            now_ms - before + step * (DAY_MS // 8) // length for before, length in spans for step in range(length)
        ]
        self.now_ms = self.clock_ms[0]
        self.oldest_counted_us = (now_ms - 390 * DAY_MS) * 1000

    def __iter__(self) -> Iterator[Made]:
        yield from itertools.islice(self._all(), self.count)

    def _all(self) -> Iterator[Made]:
        made = 0
        while made < self.count:
            for record in self._some():
                yield record
                made += 1
                self.now_ms = self.clock_ms[min(made, self.count - 1)]

    def _dealt(self, items: Sequence[Any]) -> Iterator[Any]:
        """All items in a random order, again and again."""
        return itertools.cycle(self.rng.sample(items, len(items)))

    # What comes next

    def _some(self) -> Iterator[Made]:
        kinds = {
            self._newer: 300,
            self._late: 90,
            self._again: 70,
            self._amended: 170,
            self._anonymous: 90,
            self._edge_of_future: 12,
            self._ancient: 20,
            self._invalid_field: 80,
            self._invalid_value: 30,
            self._mismatched: 20,
            self._manner: 20,
            self._erase: 14,
            self._erase_nobody: 10,
            self._after_erasure: 15,
            self._story: 12,
        }
        yield from self.rng.choices(list(kinds), list(kinds.values()))[0]()

    def _story(self) -> Iterator[Made]:
        if self.slow and self.now_ms > self.slow[0].not_before_ms:
            yield from self.slow.pop(0).rest(self)
        else:
            yield from next(self.stories)(self, f"story-{next(self.numbers)}")

    def _newer(self) -> Iterator[Made]:
        customer, survey = self._somebody()
        known = self.journeys.get((customer, survey))
        now_us = self.now_ms * 1000
        if not known:
            responded_us = now_us - int(self.rng.random() * 45 * DAY_US)
        else:
            latest_us = max(document["us"] for document in known)
            room_us = max(0, now_us + 240_000_000 - latest_us)
            step_us = self.rng.choice((0, 1, int(room_us * 0.4 * self.rng.random()), 30 * DAY_US, 29 * DAY_US))
            responded_us = latest_us + min(step_us, room_us)
        yield self._send(self._document(customer, survey, responded_us), jitter=True)

    def _late(self) -> Iterator[Made]:
        (customer, survey), known = self._known_journey()
        moments = sorted(document["us"] for document in known)
        low_us = self.rng.choice((moments[0], self._before(moments[0]), self._before(moments[0]) - 3_600_000_000))
        responded_us = self.rng.choice((self.rng.randint(low_us, moments[-1]), self.rng.choice(moments)))
        yield self._send(self._document(customer, survey, responded_us), jitter=True)

    def _again(self) -> Iterator[Made]:
        document = dict(self._recent(self._known_journey()[1]))
        if self.rng.random() < 0.4:  # changed content under a revision that is known
            document["score"] = self._score("")
        if self.rng.random() < 0.3 and document["revision"]:
            document["revision"] = self.rng.randrange(document["revision"])
        yield self._send(document, jitter=True, remember=False)

    def _amended(self) -> Iterator[Made]:
        known = self._known_journey()[1]
        if self.rng.random() < 0.5:
            document = dict(max(known, key=lambda found: (found["us"], found["response_id"])))
        else:
            document = dict(self._recent(known))
        document["revision"] = self._next_revision(document["revision"])
        if self.rng.random() < 0.6:
            document["score"] = self.rng.choice((3, 7, 8, 9))
        if self.rng.random() < 0.4:
            moments = [found["us"] for found in known]
            document["us"] = self.rng.choice(
                (self.rng.choice(moments), self.rng.randint(min(moments), max(moments)), self._before(min(moments)))
            )
        if self.rng.random() < 0.3:
            document |= self._details()
        yield self._send(document, jitter=True)

    def _anonymous(self) -> Iterator[Made]:
        if self.anonymous and self.rng.random() < 0.6:
            document = dict(self._recent(self.anonymous))
            if self.rng.random() < 0.6:
                document["revision"] = self._next_revision(document["revision"])
                document |= self._details() | {"score": self._score("")}
                if document["us"] > self.oldest_counted_us:
                    document["us"] -= self.rng.choice((0, 1, DAY_US))
        else:
            name = self.rng.choice((*odd.CUSTOMERS[:9], *(f"anonymous-{next(self.numbers)}" for _ in range(20))))
            document = self._document(None, self.rng.choice(odd.SURVEYS), self._recently(), name)
        yield self._send(document, jitter=True)

    def _edge_of_future(self) -> Iterator[Made]:
        responded_us = self.now_ms * 1000 + 300_000_000 + self.rng.choice((0, 1, -1, DAY_US))
        yield self._send(self._document(*self._somebody(), responded_us), remember=False)

    def _ancient(self) -> Iterator[Made]:
        """Too old to be counted, or nearly; without segments, for the day's end comes soon."""
        ancient_us = self.now_ms * 1000 - 400 * DAY_US - self.rng.choice((1, 1000, 30 * DAY_US))
        if self.rng.random() < 0.1:
            ancient_us = -62_135_596_800_000_000 + self.rng.randrange(DAY_US)  # the first day of year 1
        subject = None if self.rng.random() < 0.3 else f"old-{self.rng.randrange(5)}"
        document = self._document(subject, self.rng.choice(odd.SURVEYS), ancient_us) | {"segments": {}}
        yield self._send(document)

    def _invalid_field(self) -> Iterator[Made]:
        field, value = next(self.invalid_fields)
        written = self._written(self._document(*self._somebody(), self._recently()), tidy=True)
        written[field] = value
        if value is odd.ABSENT:
            del written[field]
        yield self._made(self._a_key(), json.dumps(written, ensure_ascii=self.rng.random() < 0.5).encode())

    def _invalid_value(self) -> Iterator[Made]:
        if self.rng.random() < 0.15:
            document = self._document(*self._somebody(), self._recently())
            value = json.dumps(self._written(document, tidy=True)).encode()
            value = value[:-1] + b" " * (65_537 - len(value)) + b"}"
            yield self._made(document["customer_id"].encode(), self.rng.choice((value, b"\xff" * 70_000)))
        else:
            yield self._made(self._a_key(), next(self.invalid_json))

    def _mismatched(self) -> Iterator[Made]:
        document = self._document(*self._somebody(), self._recently())
        if self.rng.random() < 0.3:
            document["customer_id"] = None
        if self.rng.random() < 0.2:
            document["us"] += 10 * DAY_US  # would be from the future, but the key comes first
        named = (document["customer_id"] or document["response_id"]).encode()
        key = self.rng.choice((None, b"", b"\xff\xfe", b"nobody", named + b" ", named.upper() + b"X"))
        yield self._made(key, json.dumps(self._written(document, tidy=True)).encode())

    def _manner(self) -> Iterator[Made]:
        document = self._document(*self._somebody(), self._recently())
        yield self._send(document, manner=next(self.manners))

    def _erase(self) -> Iterator[Made]:
        if self.anonymous and self.rng.random() < 0.4:
            yield self.erase(self.rng.choice(self.anonymous)["response_id"])
        else:
            yield self.erase(self.rng.choice(odd.CUSTOMERS[self.rng.choice((3, 6, 6)) :]))

    def _erase_nobody(self) -> Iterator[Made]:
        keys = (None, b"", b"\xff", b"nobody", b"\xed\xa0\x80", b"tab\t", b"x" * 1000)
        yield self._made(self.rng.choice(keys), None)

    def _after_erasure(self) -> Iterator[Made]:
        if self.erased:
            yield self._send(dict(self.rng.choice(self.erased)))

    # Parts, also for stories

    def send(
        self,
        customer: str,
        survey: str,
        response_id: str,
        responded_us: int,
        score: int,
        revision: int = 0,
        **fields: Any,
    ) -> Made:
        """A plain response of a story, at its partition and at the clock's time."""
        document = self._document(customer, survey, responded_us, response_id)
        return self._send(document | {"score": score, "revision": revision, **fields}, placed=True)

    def erase(self, name: str, *, placed: bool = False) -> Made:
        for (customer, survey), known in list(self.journeys.items()):
            if customer == name:
                self.erased += known
                del self.journeys[customer, survey]
        self.erased += [document for document in self.anonymous if document["response_id"] == name]
        self.anonymous = [document for document in self.anonymous if document["response_id"] != name]
        return self._made(name.encode(), None, placed=placed)

    def _somebody(self) -> tuple[str, str]:
        few = self.rng.random() < 0.75
        customer = self.rng.choice(odd.CUSTOMERS[:4] if few else odd.CUSTOMERS)
        return customer, self.rng.choices(odd.SURVEYS, (8, 1, 2))[0]

    def _known_journey(self) -> tuple[tuple[str, str], list[dict[str, Any]]]:
        somebody = self._somebody()
        if somebody not in self.journeys:
            document = self._document(*somebody, self._recently())
            return somebody, [document]
        return somebody, self.journeys[somebody]

    def _recent(self, documents: list[dict[str, Any]]) -> dict[str, Any]:
        return self.rng.choice(documents[-40:])

    def _recently(self) -> int:
        return self.now_ms * 1000 - int(self.rng.random() ** 2 * 40 * DAY_US)

    def _before(self, moment_us: int) -> int:
        """A day earlier, unless that comes near the end of the retention of counts."""
        return max(moment_us - DAY_US, self.oldest_counted_us)

    def _next_revision(self, revision: int) -> int:
        return min(2**53 - 1, revision + self.rng.choice((1, 1, 1, 1, 3, 1000, 2**52)))

    def _a_key(self) -> bytes | None:
        return self.rng.choice((*(name.encode() for name in odd.CUSTOMERS), None, b"\xfe"))

    def _score(self, customer: str) -> int:
        if customer in odd.CUSTOMERS[:2]:  # long passive runs
            return self.rng.choice((7, 8) * 12 + (3, 9))
        return self.rng.choice((0, 3, 6, 7, 7, 7, 8, 8, 8, 9, 10, 9))

    def _details(self) -> dict[str, Any]:
        pick = self.rng.choice
        names = self.rng.sample(list(odd.SEGMENTS), pick((0, 1, 2, 2, 3, 8)))
        return {
            "segments": {name: pick(odd.SEGMENTS[name]) for name in names},
            "comment": pick((None, *odd.COMMENTS[:-1])) if self.rng.random() < 0.97 else odd.COMMENTS[-1],
            "language": pick((None, *odd.LANGUAGES)),
            "reason": pick((None, "expectations_met", "no_major_problems", "indifferent", "needs_more_time")),
            "csat": pick((None, 1, 2, 3, 4, 5)),
            "account_id": pick((None, "account-1", "\U0001f3e6" * 128)),
            "customer_since": pick((None, "2024-02-29", "0001-01-01", "9999-12-31")),
        }

    def _document(self, customer: str | None, survey: str, responded_us: int, response_id: str = "") -> dict[str, Any]:
        """A response as a dict of its fields, but for `us`, its time. Ids repeat across customers and surveys."""
        if not response_id:
            known = len(self.journeys.get((customer or "", survey), ()))
            prefix = self.rng.choice(("r", "R", "\U0001f600", "\uff5a", 'r" ', "e\u0301"))
            response_id = f"{prefix}{known}-{self.rng.randrange(1000)}"
        return {
            "response_id": response_id,
            "customer_id": customer,
            "survey_id": survey,
            "score": self._score(customer or ""),
            "us": responded_us,
            "revision": self.rng.choice((0, 0, 0, 1, 5)),
            **self._details(),
        }

    def _written(self, document: dict[str, Any], *, tidy: bool = False) -> dict[str, Any]:
        """As publishers write it: nulls and defaults may be left out, in any order, times in any notation."""
        fields = [(name, value) for name, value in document.items() if name != "us"]
        fields.append(("responded_at", self._time(document["us"])))
        if not tidy:
            self.rng.shuffle(fields)
            optional = {"revision": 0, "segments": {}}
            fields = [(name, value) for name, value in fields if value != optional.get(name) or self.rng.random() < 0.5]
        return dict(fields)

    def _time(self, moment_us: int) -> str:
        offset_minutes = self.rng.choice((0, 0, 0, 0, 120, -330, 840, -1439, 1439))
        if moment_us < -62_000_000_000_000_000:
            offset_minutes = 0  # no local time before year 1 can be written
        text = time_text(moment_us + offset_minutes * 60_000_000)[:-1]
        if "." in text:
            text = self.rng.choice((text, text.rstrip("0"), text + "9", text + "999999999"))
        else:
            text = self.rng.choice((text, text + ".0", text + ".0000009"))
        if self.rng.random() < 0.2:
            text = text.replace("T", "t")
        if offset_minutes == 0:
            return text + self.rng.choice(("Z", "Z", "z", "+00:00", "-00:00"))
        return (
            f"{text}{'+' if offset_minutes > 0 else '-'}{abs(offset_minutes) // 60:02d}:{abs(offset_minutes) % 60:02d}"
        )

    def _send(
        self,
        document: dict[str, Any],
        *,
        jitter: bool = False,
        remember: bool = True,
        placed: bool = False,
        manner: int | None = None,
    ) -> Made:
        if remember:
            if document["customer_id"] is None:
                self.anonymous.append(document)
            else:
                journey = self.journeys.setdefault((document["customer_id"], document["survey_id"]), [])
                same = [found for found in journey if found["response_id"] == document["response_id"]]
                if same:
                    journey.remove(same[0])
                journey.append(document)
        written = self._written(document)
        if manner is None:
            value = json.dumps(written, ensure_ascii=self.rng.random() < 0.2).encode()
        else:
            value = odd.decorated(written, manner)
        key = document["response_id"] if document["customer_id"] is None else document["customer_id"]
        return self._made(key.encode(), value, jitter=jitter, placed=placed)

    def _made(self, key: bytes | None, value: bytes | None, *, jitter: bool = False, placed: bool = False) -> Made:
        """Put it on its partition (3 in 100 on any, unless `placed`), at the clock's time (or a little before)."""
        if key is None or (self.rng.random() < 0.03 and not placed):
            partition = self.rng.randrange(self.partitions)
        else:
            partition = partition_of(key, self.partitions)
        timestamp_ms = self.now_ms
        if jitter and self.rng.random() < 0.15:
            timestamp_ms -= self.rng.choice((self.rng.randrange(60_000), DAY_MS * 2 if self.rng.random() < 0.1 else 1))
        headers: Headers = self.rng.choice(HEADERS) if self.rng.random() < 0.15 else ()
        return partition, key, value, timestamp_ms, headers
