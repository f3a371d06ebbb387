"""Everything a worker wrote and says, held against the oracle. Each check names the first thing that differs."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from schemas.keys import parse_counts_key, parse_journey_key
from schemas.response import RULES
from schemas.times import format_day
from schemas.topics import Topics
from streams.engine import formats
from streams.engine.formats import Format
from streams.rules.case import Case
from streams.rules.journey import ANSWERED, OF_ENDED_CASE, Answer, Journey
from tests.support import case_cells
from tests.support.kafka_reading import latest_values
from tests.support.oracle import ANONYMOUS_MEMORY_MS, OracleDeadLetter, PartitionOracle
from tests.support.oracle_events import CHANGED, DAY_US, DETECTED, OVERDUE, WITHDRAWN, Kept, OracleEvent, Row
from tests.support.oracle_events import Journey as OracleJourney
from tests.support.oracle_reading import Record, read_time
from tests.support.oracle_scores import retained, score_rows
from tests.support.worker import Samples

PARSERS_WORDS = "control character (\\u0000-\\u001F) found while parsing a string"
OUR_WORDS = " ".join((*RULES, *RULES.values(), PARSERS_WORDS))
"""What messages say of fields and rules, whatever the record holds."""

Oracles = Mapping[int, PartitionOracle]
Log = Mapping[int, Sequence[Record]]
Changelog = Mapping[int, Iterable[Record]]
ReadTopic = Callable[[str], Log]

TIMES = {
    *("responded_at", "previous_responded_at", "passive_since", "detected_at", "ce_time"),
    *("follow_up_due_at", "case_opened_at", "first_contacted_at", "opened_at", "due_at"),
}
FOLLOW_UPS = ("matched", "duplicate", "amended", "late", "feedback", "unknown_case", "case_full", "dead_letter")
OUTCOMES = ("accepted", "late", "too_old", "duplicate", "amended", "erased", "dead_letter")
TRIGGERS = ("first_response", "from_detractor", "from_promoter", "still_passive", "corrected")
CATEGORIES = {"detractor": "detractors", "seven": "sevens", "eight": "eights", "promoter": "promoters"}
APPENDED = {
    "nps.error.reason",
    *(f"__connect.errors.{name}" for name in ("topic", "partition", "offset")),
    *(f"__connect.errors.exception.{name}" for name in ("class.name", "message")),
}


def assert_all_topics(read: ReadTopic, topics: Topics, oracles: Oracles, now_us: int, retention_days: int) -> None:
    """Events, dead letters and the changelogs, partition by partition. `read` gives a topic's committed records."""
    for topic, event_type in zip(topics.events, (DETECTED, CHANGED, WITHDRAWN, OVERDUE), strict=True):
        assert_events(read(topic), topic, event_type, oracles)
    assert_dead_letters(read(topics.dead_letter), topics.responses, oracles)
    letters = read(topics.follow_ups_dead_letter)
    for partition, oracle in oracles.items():
        _assert_letters(
            letters[partition],
            oracle.follow_up_dead_letters,
            topics.follow_ups,
            f"dead letters of follow-ups of partition {partition}",
        )
    assert_journeys(read(topics.journeys), oracles)
    assert_counts(read(topics.segment_counts), oracles, now_us, retention_days)
    assert_case_counts(read(topics.case_counts), oracles)


# Events


def assert_events(log: Log, topic: str, event_type: str, oracles: Oracles) -> None:
    for partition, oracle in oracles.items():
        where = f"{topic}-{partition}"
        expected = [event for event in oracle.events if event.type == event_type]
        for number, (found, event) in enumerate(zip(log[partition], expected, strict=False)):
            assert_event(found, event, f"{where}: event {number}")
        found_ids = Counter((dict(record.headers).get("ce_id") or b"").decode() for record in log[partition])
        missing = Counter(event.data["event_id"] for event in expected) - found_ids
        assert len(log[partition]) == len(expected), f"{where}: events missing: {list(missing)[:5]}"


def assert_event(found: Record, expected: OracleEvent, where: str) -> None:
    assert found.key == expected.key, where
    headers = {name: value.decode() for name, value in found.headers if value is not None}
    assert len(headers) == len(found.headers), f"{where}: a header is null or given twice"
    assert headers.pop("ce_dataschema"), f"{where}: ce_dataschema"
    if expected.type == OVERDUE:  # found while it happened to have read so far
        assert re.fullmatch("[0-9]{19}", headers.pop("ce_sequence")), f"{where}: ce_sequence"
    assert_fields(headers, expected.headers, f"{where}: headers")
    assert found.value is not None, where
    assert_fields(json.loads(found.value), expected.data, f"{where}: {expected.label}")


def assert_fields(found: Mapping[str, Any], expected: Mapping[str, Any], where: str) -> None:
    """Equal, names and types too; times as instants in UTC, numbers with fractions to 12 digits."""
    assert found.keys() == expected.keys(), f"{where}: {set(found) ^ set(expected)} on one side only"
    for name, value in expected.items():
        assert _same(name, found[name], value), f"{where}: {name} is {found[name]!r}, not {value!r}\n{dict(expected)}"


def _same(name: str, found: Any, expected: Any) -> bool:
    if expected is None or found is None:
        return found is expected
    if name in TIMES:
        return str(found).endswith("Z") and read_time(found) == read_time(expected)
    if isinstance(expected, float):
        return isinstance(found, int | float) and math.isclose(found, expected, rel_tol=1e-12, abs_tol=1e-12)
    return type(found) is type(expected) and bool(found == expected)


# Dead letters


def assert_dead_letters(log: Log, input_topic: str, oracles: Oracles) -> None:
    for partition, oracle in oracles.items():
        _assert_letters(log[partition], oracle.dead_letters, input_topic, f"dead letters of partition {partition}")


def _assert_letters(found: Sequence[Record], letters: Sequence[OracleDeadLetter], input_topic: str, where: str) -> None:
    assert [(letter.key, letter.value) for letter in found] == [
        (letter.record.key, letter.record.value) for letter in letters
    ], where
    for letter, expected in zip(found, letters, strict=True):
        assert_dead_letter(letter, expected, input_topic)


def assert_dead_letter(letter: Record, expected: OracleDeadLetter, input_topic: str) -> None:
    record = expected.record
    where = f"dead letter of offset {record.offset} of partition {record.partition}"
    assert (letter.key, letter.value) == (record.key, record.value), where
    original = tuple(record.headers)
    assert letter.headers[: len(original)] == original, f"{where}: original headers"
    appended = letter.headers[len(original) :]
    assert sorted(name for name, _ in appended) == sorted(APPENDED), f"{where}: {appended}"
    said = {name: (value or b"").decode() for name, value in appended}
    message = said.pop("__connect.errors.exception.message")
    assert said.pop("__connect.errors.exception.class.name"), where
    assert said == {
        "nps.error.reason": expected.reason,
        "__connect.errors.topic": input_topic,
        "__connect.errors.partition": str(record.partition),
        "__connect.errors.offset": str(record.offset),
    }, where
    assert message, where
    assert expected.field is None or expected.field in message, f"{where}: {message!r} names no field"
    assert _is_discreet(message, record), f"{where}: {message!r} repeats what the record holds"


def _is_discreet(message: str, record: Record) -> bool:
    key = (record.key or b"").decode(errors="replace")
    return len(key) < 6 or key not in message or key in OUR_WORDS


# Changelogs


def assert_journeys(log: Changelog, oracles: Oracles) -> None:
    for partition, oracle in oracles.items():
        customers: dict[tuple[str, str], Any] = {}
        anonymous: dict[tuple[str, str], Any] = {}
        for key, value in latest_values(log[partition]).items():
            kind, identifier, survey = parse_journey_key(key)
            if kind == "customer":
                journey = decoded(formats.JOURNEY, value)
                open_detection = journey.detection and (journey.detection.event_id, journey.detection.responded_at)
                answers = [_answer(answer) for answer in journey.history]
                customers[identifier, survey] = (answers, open_detection, _cases(journey))
            else:
                remembered = decoded(formats.REMEMBERED, value)
                if oracle.stream_time_ms - remembered.first_seen_ms <= ANONYMOUS_MEMORY_MS:
                    anonymous[identifier, survey] = (_answer(remembered.answer), remembered.first_seen_ms)
        expected_customers = {
            (customer, survey): (
                [_kept(kept) for kept in journey.history],
                journey.detection and (journey.detection.event_id, journey.detection.responded_us),
                _expected_cases(journey),
            )
            for customer, surveys in oracle.customers.items()
            for survey, journey in surveys.items()
        }
        expected_anonymous = {
            (response_id, survey): (_kept(known.kept), known.first_ms)
            for response_id, surveys in oracle.anonymous.items()
            for survey, known in surveys.items()
            if oracle.stream_time_ms - known.first_ms <= ANONYMOUS_MEMORY_MS
        }
        assert_same_items(customers, expected_customers, f"journeys of partition {partition}")
        assert_same_items(anonymous, expected_anonymous, f"anonymous responses of partition {partition}")


def _answer(answer: Answer) -> tuple[Any, ...]:
    return (
        *(answer.response_id, answer.revision, answer.score, answer.responded_at, dict(answer.segments), answer.csat),
        *(bool(answer.marks & ANSWERED), bool(answer.marks & OF_ENDED_CASE)),
    )


def _cases(journey: Journey) -> tuple[Any, ...]:
    """The open case, and what is remembered of others."""
    case, past = journey.case, journey.past
    ended = [] if past is None else [(list(each.detections), each.response_id) for each in past.ended]
    return None if case is None else _case(case), ended, {} if past is None else dict(past.known)


def _case(case: Case) -> tuple[Any, ...]:
    return (
        *(
            case.score,
            case.opened_at,
            case.due_at,
            (case.first_response_id, case.first_revision),
            list(case.detections),
        ),
        *(case.response_id, dict(case.segments), case.overdue, case.reason, case.action, case.first_contact),
        [(each.follow_up_id, each.revision) for each in case.follow_ups],
    )


def _expected_cases(journey: OracleJourney) -> tuple[Any, ...]:
    case = journey.case
    expected = case and (
        *(case.score, case.opened_us, case.due_us, case.first, case.detections),
        *(case.response_id, case.segments, case.overdue, case.reason, case.action, case.first_contact_us),
        [(each.follow_up_id, each.revision) for each in case.follow_ups],
    )
    return expected, [(each.detections, each.response_id) for each in journey.ended], journey.known


def _kept(kept: Kept) -> tuple[Any, ...]:
    response = kept.response
    return (
        response.response_id,
        response.revision,
        response.score,
        response.responded_us,
        response.segments,
        response.csat,
        kept.answered,
        kept.of_ended_case,
    )


def decoded(stored_format: Format[Any], value: bytes) -> Any:
    """Decode a stored value, of the format's current version."""
    assert value[0] == stored_format.version
    return stored_format.decode(value)


def assert_counts(log: Changelog, oracles: Oracles, now_us: int, retention_days: int) -> None:
    """Cells that count something, of days that are not about to be dropped."""
    for partition, oracle in oracles.items():
        found: dict[Row, list[int]] = {}
        for key, value in latest_values(log[partition]).items():
            survey, segment, day = parse_counts_key(key)
            for cell, count in decoded(formats.COUNTS, value).items():
                hour, counter = divmod(cell, 7)
                found.setdefault(Row(survey, segment, format_day(day), hour), [0] * 7)[counter] = count
        assert_same_items(
            retained(found, now_us + DAY_US, retention_days),
            retained(oracle.counts, now_us + DAY_US, retention_days),
            f"counts of partition {partition}",
        )


def assert_case_counts(log: Changelog, oracles: Oracles) -> None:
    """Every cell of the stored counts of cases, and every case."""
    for partition, oracle in oracles.items():
        found: dict[Any, Counter[str]] = {}
        for key, value in latest_values(log[partition]).items():
            survey, segment, day = parse_counts_key(key)
            for group, counters in case_cells.told(decoded(formats.CASE_COUNTS, value)).items():
                found[survey, segment, format_day(day), *group] = counters
        assert_same_items(found, oracle.case_counts(), f"counts of cases of partition {partition}")


def assert_same_items(found: Mapping[Any, Any], expected: Mapping[Any, Any], what: str) -> None:
    missing = [key for key in expected if key not in found]
    assert not missing, f"{what}: {len(missing)} missing, as {missing[:3]}"
    extra = [key for key in found if key not in expected]
    assert not extra, f"{what}: {len(extra)} too many, as {extra[:3]}"
    for key, value in expected.items():
        assert found[key] == value, f"{what}: {key}\nfound    {found[key]}\nexpected {value}"


# Scores and metrics


def assert_scores(answer: Mapping[str, Any], counts: Mapping[Row, Sequence[int]], windows: Mapping[str, int]) -> None:
    """An answer of `/v1/scores` without filters, against all partitions' counts at its `as_of`."""
    assert answer["complete"] is True
    rows = {(row["survey_id"], row["segment"], row["window"]): row for row in answer["scores"]}
    assert len(rows) == len(answer["scores"]), "a row is there twice"
    assert all(read_time(row["as_of"]) == read_time(answer["as_of"]) for row in rows.values())
    assert_score_rows(rows, counts, read_time(answer["as_of"]), windows)


def assert_score_rows(
    rows: Mapping[tuple[str, str, str], Mapping[str, Any]],
    counts: Mapping[Row, Sequence[int]],
    now_us: int,
    windows: Mapping[str, int],
) -> None:
    """Rows without responses may be absent; those there must say so."""
    expected = score_rows(counts, now_us, windows)
    for key, row in expected.items():
        if row["responses"]:
            assert key in rows, f"no score row {key}"
    for key, row in rows.items():
        assert key in expected, f"a score row of nothing known: {key}"
        assert_fields(
            {name: value for name, value in row.items() if name != "as_of"}, expected[key], f"score row {key}"
        )


def assert_metrics(samples: Samples, oracles: Iterable[PartitionOracle]) -> None:
    """Counters of one worker that has read everything since its start; labels of known sets are there at 0 too."""
    oracles = list(oracles)

    def total(name: str) -> Counter[Any]:
        return sum((getattr(oracle, name) for oracle in oracles), Counter())

    labels = total("labels")
    changes = {label: count for (event_type, label), count in labels.items() if event_type == CHANGED}
    expected: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {
        ("nps_misplaced_records_total", ()): sum(oracle.misplaced for oracle in oracles),
        ("nps_segments_overflowed_total", ()): sum(oracle.overflowed for oracle in oracles),
        ("nps_follow_up_overdue_total", ()): labels[OVERDUE, "overdue"],
        ("nps_follow_up_contact_seconds_count", ()): sum(len(oracle.contacts_us) for oracle in oracles),
    }
    expected |= {
        ("nps_passive_detected_reasons_total", (("reason", reason), ("score", str(score)))): count
        for (score, reason), count in total("found").items()
    }
    for metric, label, counted in (
        ("nps_responses_total", "outcome", {name: total("outcomes")[name] for name in OUTCOMES}),
        ("nps_follow_ups_total", "outcome", {name: total("follow_up_outcomes")[name] for name in FOLLOW_UPS}),
        ("nps_passive_detected_total", "trigger", {name: labels[DETECTED, name] for name in TRIGGERS}),
        ("nps_passive_converted_total", "score", {str(score): total("converted")[score] for score in (7, 8)}),
        ("nps_score_changed_total", "change", changes),
        ("nps_passive_withdrawn_total", "cause", {name: labels[WITHDRAWN, name] for name in ("corrected", "erased")}),
        ("nps_events_suppressed_total", "cause", {name: total("suppressed")[name] for name in ("stale", "cooldown")}),
        ("nps_dead_letters_total", "reason", dict(total("reasons"))),
    ):
        expected |= {(metric, ((label, name),)): count for name, count in counted.items()}
    for sample, count in expected.items():
        assert sample in samples, f"/metrics has no {sample}"
        assert samples[sample] == count, f"/metrics: {sample} is {samples[sample]:g}, not {count:g}"


def assert_window_gauges(
    samples: Samples, counts: Mapping[Row, Sequence[int]], now_us: int, windows: Mapping[str, int]
) -> None:
    """`nps_window_responses` of a worker that owns every partition, at `now_us`."""
    rows = score_rows(counts, now_us, windows)
    for (survey, segment, window), row in rows.items():
        for category, field in CATEGORIES.items():
            labels = {"survey": survey, "segment": segment, "window": window, "category": category}
            found = samples.get(("nps_window_responses", tuple(sorted(labels.items()))), 0)
            assert found == row[field], f"nps_window_responses{labels} is {found:g}, not {row[field]}"
