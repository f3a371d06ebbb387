"""Segment names, and who has a place under the limit: one case at a time, and against a naive model."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.rules.segments import ALL, OTHER, Placement, Places, segment_names

CROSS = (("country", "industry"),)
NO_BANK = {"industry": "bank", "country": "NO"}


def taken(places: Places, survey: str) -> int:
    return len(places._days.get(survey, ()))


@pytest.mark.parametrize(
    ("segments", "crosses", "expected"),
    [
        ({}, (), ()),
        ({}, CROSS, ()),
        ({"country": "NO"}, (), ("country=NO",)),
        (NO_BANK, (), ("country=NO", "industry=bank")),
        (NO_BANK, CROSS, ("country=NO", "industry=bank", "country=NO+industry=bank")),
        ({"country": "NO"}, CROSS, ("country=NO",)),
        (
            {"a": "1", "c": "3", "b": "2"},
            (("c", "a"), ("a", "b", "c"), ("b", "d")),
            ("a=1", "b=2", "c=3", "c=3+a=1", "a=1+b=2+c=3"),
        ),
        ({"plan": "A+"}, (), ("plan=A%2B",)),
        ({"plan": "50%"}, (), ("plan=50%25",)),
        ({"plan": "%2B+%25"}, (), ("plan=%252B%2B%2525",)),
        ({"plan": "a=b"}, (), ("plan=a=b",)),
        ({"a": "+", "b": "%"}, (("a", "b"),), ("a=%2B", "b=%25", "a=%2B+b=%25")),
    ],
)
def test_names(segments: Mapping[str, str], crosses: Sequence[tuple[str, ...]], expected: tuple[str, ...]) -> None:
    assert segment_names(segments, crosses) == expected


texts = st.text(st.sampled_from("a=+%25B_"), min_size=1, max_size=6)
some_segments = st.dictionaries(st.sampled_from(["a", "b", "c"]), texts)


@given(some_segments, some_segments)
def test_different_segments_have_different_names(one: dict[str, str], other: dict[str, str]) -> None:
    crosses = (("a", "b"), ("b", "c"), ("a", "b", "c"))
    names, others = segment_names(one, crosses), segment_names(other, crosses)
    assert len(set(names)) == len(names)
    for name in set(names) & set(others):
        parts = [single.partition("=")[0] for single in name.split("+")]
        assert [one[part] for part in parts] == [other[part] for part in parts]


def test_what_has_a_place_is_plain() -> None:
    assert Places(10).rows_of("s", NO_BANK) == Placement(("country=NO", "industry=bank"), 0, True)
    assert Places(10).rows_of("s", {}) == Placement((), 0, True)
    assert Places(10, CROSS).rows_of("s", {"country": "NO"}) == Placement(("country=NO",), 0, True)


def test_a_cross_is_not_plain() -> None:
    expected = Placement(("country=NO", "industry=bank", "country=NO+industry=bank"), 0, False)
    assert Places(10, CROSS).rows_of("s", NO_BANK) == expected


def test_free_places_go_in_order_of_name_then_to_crosses() -> None:
    crosses = (("industry", "country"), ("country", "industry"))
    rows = [Places(limit, crosses).rows_of("s", NO_BANK) for limit in range(1, 5)]
    other_country, other_industry = f"country={OTHER}", f"industry={OTHER}"
    no, bank = "country=NO", "industry=bank"
    first, second = "industry=bank+country=NO", "country=NO+industry=bank"
    other_first, other_second = f"{other_industry}+{other_country}", f"{other_country}+{other_industry}"
    assert rows == [
        Placement((no, other_industry, other_first, other_second), 3, False),
        Placement((no, bank, other_first, other_second), 2, False),
        Placement((no, bank, first, other_second), 1, False),
        Placement((no, bank, first, second), 0, False),
    ]


def test_each_diversion_is_reported_each_time() -> None:
    places = Places(1)
    places.rows_of("s", {"country": "NO"})
    for _ in range(3):
        assert places.rows_of("s", {"country": "SE"}) == Placement((f"country={OTHER}",), 1, False)
    assert places.rows_of("s", {"country": "NO"}).diverted == 0


def test_places_are_counted_per_survey() -> None:
    places = Places(1)
    assert places.rows_of("s", {"country": "NO"}).plain
    assert places.rows_of("t", {"country": "SE"}).plain
    assert (taken(places, "s"), taken(places, "t"), taken(places, "u")) == (1, 1, 0)


def test_other_rows_take_no_place_and_are_no_diversion_when_meant() -> None:
    places = Places(1, CROSS)
    placement = places.rows_of("s", {"country": OTHER, "industry": OTHER})
    assert placement == Placement(
        (f"country={OTHER}", f"industry={OTHER}", f"country={OTHER}+industry={OTHER}"), 0, False
    )
    assert taken(places, "s") == 0
    assert places.rows_of("s", {"country": OTHER}).plain
    assert places.rows_of("s", {"country": f"x={OTHER}"}).plain  # a value of its own
    assert taken(places, "s") == 1
    assert places.rows_of("s", {"country": OTHER, "industry": "bank"}).diverted == 2


def test_a_name_keeps_its_place_until_its_last_day_is_dropped() -> None:
    places = Places(1)
    places.rows_of("s", {"country": "NO"})
    for _ in range(2):
        places.row_created("s", "country=NO")
    places.row_dropped("s", "country=NO")
    assert places.rows_of("s", {"country": "SE"}).diverted == 1
    places.row_dropped("s", "country=NO")
    assert places.rows_of("s", {"country": "SE"}).plain
    assert places.rows_of("s", {"country": "NO"}).diverted == 1  # the place is taken now


def test_a_name_without_any_day_yet_keeps_its_place() -> None:
    places = Places(1)
    places.rows_of("s", {"country": "NO"})
    assert places.rows_of("s", {"country": "SE"}).diverted == 1
    assert places.rows_of("s", {"country": "NO"}).plain


def test_restored_rows_have_their_places_even_above_the_limit() -> None:
    places = Places(1)
    for segment in ("country=NO", "country=SE", "country=SE", ALL, f"country={OTHER}", f"a={OTHER}+b={OTHER}"):
        places.row_created("s", segment)
    assert taken(places, "s") == 2
    assert places.rows_of("s", {"country": "SE"}).plain
    assert places.rows_of("s", {"country": "DK"}).diverted == 1
    for segment in ("country=NO", ALL, f"country={OTHER}", f"a={OTHER}+b={OTHER}"):
        places.row_dropped("s", segment)
    assert taken(places, "s") == 1
    assert places.rows_of("s", {"country": "DK"}).diverted == 1  # still as many as the limit


def test_a_name_restored_after_it_was_diverted_is_diverted_no_more() -> None:
    places = Places(1)
    places.rows_of("s", {"country": "NO"})
    assert places.rows_of("s", {"country": "SE"}).diverted == 1
    places.row_created("s", "country=SE")
    assert places.rows_of("s", {"country": "SE"}).plain


def test_a_row_that_was_never_created_cannot_be_dropped() -> None:
    places = Places(1)
    places.rows_of("s", {"country": "NO"})
    with pytest.raises(AssertionError, match="never created"):
        places.row_dropped("s", "country=NO")


class NaivePlaces:
    """Every question answered anew from lists."""

    def __init__(self, limit: int, crosses: Sequence[tuple[str, ...]]) -> None:
        self.limit, self.crosses = limit, crosses
        self.placed: list[tuple[str, str]] = []
        self.days: list[tuple[str, str]] = []

    def rows_of(self, survey: str, segments: Mapping[str, str]) -> tuple[tuple[str, ...], int]:
        rows, diverted = [], 0
        for cross in [*((name,) for name in sorted(segments)), *self.crosses]:
            if not all(name in segments for name in cross):
                continue
            segment = "+".join(f"{name}={segments[name]}" for name in cross)
            other = "+".join(f"{name}=__other__" for name in cross)
            if segment != other and (survey, segment) not in self.placed:
                if len([one for one, _ in self.placed if one == survey]) < self.limit:
                    self.placed.append((survey, segment))
                else:
                    segment = other
                    diverted += 1
            rows.append(segment)
        return tuple(rows), diverted

    def created(self, survey: str, segment: str) -> None:
        self.days.append((survey, segment))
        if "__other__" not in segment and (survey, segment) not in self.placed:
            self.placed.append((survey, segment))

    def dropped(self, survey: str, segment: str) -> None:
        self.days.remove((survey, segment))
        if (survey, segment) in self.placed and (survey, segment) not in self.days:
            self.placed.remove((survey, segment))


@pytest.mark.parametrize("seed", range(40))
def test_places_are_those_of_a_naive_model(seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    crosses: tuple[tuple[str, ...], ...] = rng.choice([(), (("b", "a"),), (("a", "b"), ("a", "c"), ("a", "b", "c"))])
    limit = rng.randrange(1, 12)
    places, naive = Places(limit, crosses), NaivePlaces(limit, crosses)
    for _ in range(400):
        survey = rng.choice("st")
        if naive.days and rng.random() < 0.45:
            survey, segment = rng.choice(naive.days)
            places.row_dropped(survey, segment)
            naive.dropped(survey, segment)
        elif rng.random() < 0.03:
            segment = f"a={rng.randrange(5)}"
            places.row_created(survey, segment)
            naive.created(survey, segment)
        else:
            names = rng.sample("abc", rng.randrange(4))
            segments = {name: rng.choice(["0", "1", "2", "3", "4", OTHER]) for name in names}
            rows, diverted = naive.rows_of(survey, segments)
            plain = rows == tuple(f"{name}={segments[name]}" for name in sorted(segments))
            assert places.rows_of(survey, segments) == Placement(rows, diverted, plain and not diverted)
            for segment in rows:
                if rng.random() < 0.5:
                    places.row_created(survey, segment)
                    naive.created(survey, segment)
        for survey in "st":
            assert taken(places, survey) == len([one for one, _ in naive.placed if one == survey])
