"""The work in Quix Streams with plain state: stateful functions, and the segments grouped again by their own key.

Exactly once over both halves, with a commit each second. The counters of a day and its 24 hours are one value; its own
tumbling windows would be shorter to write, and slower. Runs in a virtual environment of its own, as
`python -m tests.bench.peers.quix_app`, with PEER_… in the environment.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from quixstreams import Application, State

from tests.bench.peers.rules import added, day_and_hour, event_of, responded_at_ms, say_first_record, segments, valid

COMMIT_INTERVAL_S = 1.0

started = cache(say_first_record)


def accepted(response: Any) -> bool:
    started()
    return valid(response)


def change(response: dict[str, Any], state: State) -> dict[str, Any] | None:
    """Keep the newest response of the customer, whose state this is, to the survey; return the event of it, if any."""
    survey, at_ms = response["survey_id"], responded_at_ms(response)
    before = state.get(survey)
    if before is not None and at_ms < before["responded_at_ms"]:
        return None
    newest = {"response_id": response["response_id"], "score": response["score"], "responded_at_ms": at_ms}
    state.set(survey, newest)
    return event_of(response, None if before is None else before["score"])


def by_segment(response: dict[str, Any]) -> list[dict[str, Any]]:
    at_ms, score = responded_at_ms(response), response["score"]
    return [{"segment": segment, "at_ms": at_ms, "score": score} for segment in segments(response)]


def count(answer: dict[str, Any], state: State) -> None:
    """In the state of the segment."""
    day, hour = day_and_hour(answer["at_ms"])
    state.set(day, added(state.get(day), hour, answer["score"]))


def main() -> None:
    app = Application(
        broker_address=os.environ["PEER_BOOTSTRAP_SERVERS"],
        consumer_group=os.environ["PEER_GROUP"],
        state_dir=os.environ["PEER_STATE_DIR"],
        processing_guarantee="exactly-once",
        commit_interval=COMMIT_INTERVAL_S,
        auto_offset_reset="earliest",
        producer_extra_config={"linger.ms": 20, "queue.buffering.max.messages": 1_000_000},
        on_consumer_error=lambda error, message, logger: message is not None,  # what cannot be decoded is dropped
        loglevel="WARNING",
    )
    source = app.topic(os.environ["PEER_INPUT"], key_deserializer="str", value_deserializer="json")
    events = app.topic(os.environ["PEER_OUTPUT"], key_serializer="str", value_serializer="json")

    responses = app.dataframe(source).filter(accepted)
    changes = responses.apply(change, stateful=True)
    changes.filter(lambda event: event is not None).to_topic(events)
    answers = responses.apply(by_segment, expand=True).group_by(
        lambda answer: answer["segment"], name="segments", key_serializer="str", key_deserializer="str"
    )
    answers.update(count, stateful=True)
    app.run()


if __name__ == "__main__":
    main()
