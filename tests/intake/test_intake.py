"""What `nps intake` takes, and how it says no."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDict
from prometheus_client.parser import text_string_to_metric_families

from schemas.topics import Topics
from streams.http import server as server_module
from streams.intake import endpoints as endpoints_module
from streams.intake.limits import TokenBucket
from tests.intake.described import check_described, responses
from tests.intake.serving import JSON, NDJSON, OTHER_TOKEN, TOKEN, Clock, Intake, lines, response, serving

MIB = 1024 * 1024


@asynccontextmanager
async def asking(**limits: Any) -> AsyncIterator[tuple[Intake, aiohttp.ClientSession]]:
    async with serving(**limits) as intake, aiohttp.ClientSession(intake.server.url) as client:
        yield intake, client


async def post(
    client: aiohttp.ClientSession, body: Any, headers: dict[str, str], expected: int, path: str = "/v1/responses"
) -> Any:
    async with client.post(path, data=body, headers=headers) as answer:
        assert answer.status == expected, await answer.text()
        assert answer.headers["Server"] == "nps"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        if expected >= 400:
            assert answer.headers["Content-Type"] == "application/problem+json"
        check_described(path, answer.status, answer.headers, await answer.read())
        found = await answer.json(content_type=None)
        return {**found, "headers": dict(answer.headers)}


# --- what is taken ---


async def test_one_object_is_published_byte_for_byte_under_its_customer() -> None:
    body = json.dumps(response(comment="ø\n"), indent=2, ensure_ascii=False).encode()
    async with asking() as (intake, client):
        assert (await post(client, body, JSON, 202))["accepted"] == 1
        ((topic, record),) = intake.published.records
        assert (topic, record.key, record.value) == (Topics().responses, b"c-1", body)


async def test_an_anonymous_one_goes_under_its_own_id() -> None:
    async with asking() as (intake, client):
        await post(client, json.dumps(response(customer_id=None)), JSON, 202)
        assert intake.published.records[0][1].key == b"r-1"


async def test_what_nobody_knows_may_hold_an_integer_of_any_length_as_for_a_worker() -> None:
    body = json.dumps(response())[:-1] + f', "x": {"1" * 5_000}}}'
    async with asking() as (intake, client):
        await post(client, body, JSON, 202)
        assert intake.published.records[0][1].key == b"c-1"


async def test_a_follow_up_goes_to_its_own_topic() -> None:
    given = {
        "follow_up_id": "f-1",
        "customer_id": "c-1",
        "survey_id": "s",
        "status": "contacted",
        "action": "personal_follow_up",
        "occurred_at": "2026-01-01T00:00:00Z",
    }
    async with asking() as (intake, client):
        assert (await post(client, json.dumps(given), JSON, 202, "/v1/follow-ups"))["accepted"] == 1
        ((topic, record),) = intake.published.records
        assert (topic, record.key) == (Topics().follow_ups, b"c-1")
        problem = await post(client, json.dumps({**given, "status": "planted"}), JSON, 422, "/v1/follow-ups")
        assert problem["errors"][0]["message"].startswith("status must be one of opened")
        assert "planted" not in json.dumps(problem)
        await post(client, json.dumps(given), JSON, 422)
        await post(client, json.dumps(response()), JSON, 422, "/v1/follow-ups")


async def test_lines_in_their_order() -> None:
    given = [response(f"r-{number}") for number in range(5)]
    body = lines(*given[:2], b"", b"  \r") + lines(*given[2:]).replace(b"\n", b"\r\n").rstrip()
    async with asking() as (intake, client):
        assert (await post(client, body, NDJSON, 202))["accepted"] == 5
        assert [json.loads(value) for value in intake.values] == given
        for media_type in ("application/jsonl", "Application/X-NDJSON; charset=UTF-8"):
            await post(client, body, {**NDJSON, "Content-Type": media_type}, 202)


# --- what is refused ---


async def test_each_bad_line_is_named_and_none_is_taken() -> None:
    future = response(responded_at="2999-01-01T00:00:00Z")
    body = lines(response(), b"", b"planted", response(score=11), response(comment="planted" * 10_000), b"null", future)
    async with asking() as (intake, client):
        problem = await post(client, body, NDJSON, 422)
        assert problem["detail"] == "5 of 6 records are refused, so none was taken."
        assert problem["errors_total"] == 5
        assert [(error["line"], error["reason"]) for error in problem["errors"]] == [
            (3, "invalid_json"),
            (4, "invalid_response"),
            (5, "too_large"),
            (6, "invalid_response"),
            (7, "from_future"),
        ]
        assert problem["errors"][1]["message"].startswith("score must be an integer from 0 to 10")
        assert "planted" not in json.dumps(problem)
        assert intake.values == []
        assert intake.registry.get_sample_value(
            "nps_intake_records_total", {"path": "/v1/responses", "result": "refused"}
        )


async def test_a_hundred_bad_lines_are_named_and_all_counted() -> None:
    async with asking() as (_, client):
        problem = await post(client, b"{}\n" * 150, NDJSON, 422)
        assert (problem["errors_total"], len(problem["errors"])) == (150, 100)


@pytest.mark.parametrize("body", [b"", b"\n\n \n"])
async def test_nothing_is_no_record_and_is_told_as_any_other_refusal(body: bytes) -> None:
    async with asking() as (intake, client):
        problem = await post(client, body, NDJSON, 422)
        assert problem["detail"] == "There is no record in the body."
        error = {"line": 1, "reason": "invalid_json", "message": "no line of the body has a record"}
        assert (problem["errors_total"], problem["errors"]) == (1, [error])
        assert (await post(client, body, JSON, 422))["errors"][0]["reason"] == "invalid_json"
        refused = {"path": "/v1/responses", "result": "refused"}
        assert intake.registry.get_sample_value("nps_intake_records_total", refused) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": ""},
    ],
)
async def test_other_media_types(headers: dict[str, str]) -> None:
    async with asking() as (intake, client):
        await post(client, b"{}", {**JSON, **headers}, 415)
        assert intake.values == []


async def test_methods_and_paths() -> None:
    async with asking() as (_, client):
        async with client.get("/v1/responses", headers=JSON) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        async with client.post("/openapi.json", data=b"{}", headers=JSON) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
        await post(client, b"{}", JSON, 404, "/v1/nothing")


# --- tokens ---


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x"])
async def test_without_a_token_nothing_is_taken(authorization: str) -> None:
    async with asking() as (intake, client):
        problem = await post(client, json.dumps(response()), {**JSON, "Authorization": authorization}, 401)
        assert problem["headers"]["WWW-Authenticate"].startswith('Bearer realm="nps"')
        assert intake.values == []


async def test_each_token_is_taken() -> None:
    async with asking() as (_, client):
        for token in (TOKEN, OTHER_TOKEN):
            await post(client, json.dumps(response()), {**JSON, "Authorization": f"bearer {token}"}, 202)


# --- limits ---


async def test_a_body_as_large_as_may_be_and_one_byte_more() -> None:
    line = lines(response())
    body = line * (MIB // len(line))
    body += b" " * (MIB - len(body))
    assert len(body) == MIB

    async def chunks(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]

    async with asking() as (intake, client):
        await post(client, io.BytesIO(body), NDJSON, 202)
        await post(client, chunks(body), NDJSON, 202)
        count = len(intake.values)
        await post(client, io.BytesIO(body + b" "), NDJSON, 413)
        await post(client, chunks(body + b" "), NDJSON, 413)
        assert len(intake.values) == count


async def test_as_many_records_as_may_be_and_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints_module, "MAX_RECORDS", 20)
    async with asking() as (_, client):
        await post(client, lines(*[response()] * 20), NDJSON, 202)
        await post(client, lines(*[response()] * 21), NDJSON, 413)


async def test_a_body_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints_module, "BODY_TIMEOUT_S", 0.2)

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    async with asking() as (_, client):
        await post(client, slowly(), JSON, 408)


async def test_who_sends_slowly_holds_up_only_what_comes_under_the_same_token() -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    async with asking() as (_, client):
        slow = [asyncio.create_task(post(client, slowly(), JSON, 202)) for _ in range(40)]
        await asyncio.sleep(0.3)
        async with asyncio.timeout(3):
            await post(client, json.dumps(response()), {**JSON, "Authorization": f"Bearer {OTHER_TOKEN}"}, 202)
        for each in slow:
            each.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


async def test_a_body_that_is_encoded_twice_is_refused() -> None:
    async with asking() as (_, client):
        for encodings in (("identity", "gzip"), ("gzip", "identity"), ("br",)):
            headers = CIMultiDict(JSON)
            for each in encodings:
                headers.add("Content-Encoding", each)
            async with client.post("/v1/responses", data=b"{}", headers=headers) as answer:
                assert answer.status == 415


async def test_a_token_that_sends_too_much_is_told_when_to_come_again() -> None:
    async with asking(rate=2.0, burst=10) as (intake, client):
        await post(client, lines(*[response()] * 15), NDJSON, 202)  # what is there is enough to begin
        problem = await post(client, json.dumps(response()), JSON, 429)
        assert problem["headers"]["Retry-After"] == "3", "5 too many and one more, 2 a second"
        await post(client, json.dumps(response()), {**JSON, "Authorization": f"Bearer {OTHER_TOKEN}"}, 202)
        intake.clock.now_s += 2.4
        await post(client, json.dumps(response()), JSON, 429)
        intake.clock.now_s += 0.2
        await post(client, json.dumps(response()), JSON, 202)


async def test_bodies_that_come_together_are_no_way_around_the_budget() -> None:
    begun = 0
    all_begun = asyncio.Event()

    async def in_two_parts() -> AsyncIterator[bytes]:
        nonlocal begun
        yield lines(*[response()] * 10)
        begun += 1
        if begun == 20:
            all_begun.set()
        await all_begun.wait()
        await asyncio.sleep(0.2)  # all of them have been asked for their token, and none is there as a whole
        yield lines(*[response()] * 5)

    async def one(client: aiohttp.ClientSession) -> tuple[int, str | None]:
        async with client.post("/v1/responses", data=in_two_parts(), headers=NDJSON) as answer:
            return answer.status, answer.headers.get("Retry-After")

    async with asking(rate=2.0, burst=10) as (intake, client):
        answers = await asyncio.gather(*(one(client) for _ in range(20)))
        assert sorted(answers, key=str) == [(202, None), *[(429, "3")] * 19], "5 too many and one more, 2 a second"
        assert len(intake.values) == 15


def test_a_bucket_fills_up_to_its_burst() -> None:
    clock = Clock()
    bucket = TokenBucket(10.0, 5, clock)
    clock.now_s += 3600
    assert bucket.wait_s() == 0
    bucket.take(5)
    assert bucket.wait_s() == pytest.approx(0.1)
    clock.now_s += 0.1
    assert bucket.wait_s() == 0


async def test_refused_before_the_body_is_sent() -> None:
    """A client that asks first (`Expect: 100-continue`) need not send a body that would be refused."""
    body = json.dumps(response()).encode()
    async with serving() as intake:
        host, port = intake.server.url.removeprefix("http://").split(":")
        for token, told in ((b"wrong", b"401"), (TOKEN.encode(), b"100")):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(
                b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
                b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n" % (token, len(body))
            )
            async with asyncio.timeout(10):
                assert (await reader.readline()).split()[1] == told
                if told == b"100":
                    assert await reader.readline() == b"\r\n"
                    writer.write(body)
                    assert (await reader.readline()).split()[1] == b"202"
            writer.close()


# --- Kafka ---


async def test_what_kafka_has_not_acknowledged_is_not_accepted() -> None:
    async with asking() as (intake, client):
        intake.published.fails = True
        problem = await post(client, json.dumps(response()), JSON, 503)
        assert problem["headers"]["Retry-After"] == "5"
        assert "planted" not in json.dumps(problem)
        intake.published.fails = False
        await post(client, json.dumps(response()), JSON, 202)
        async with client.get("/metrics") as answer:
            text = await answer.text()
        assert 'nps_intake_requests_total{path="/v1/responses",status="202"} 1.0' in text
        assert 'nps_intake_requests_total{path="/v1/responses",status="503"} 1.0' in text
        assert 'nps_intake_records_total{path="/v1/responses",result="accepted"} 1.0' in text
        assert 'nps_intake_seconds_count{path="/v1/responses"} 2.0' in text


# --- what is counted ---


async def series(client: aiohttp.ClientSession) -> dict[str, float]:
    """What is exposed of requests, by status."""
    async with client.get("/metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
    samples = [sample for family in families for sample in family.samples]
    return {
        sample.labels["status"]: sample.value
        for sample in samples
        if sample.name == "nps_intake_requests_total" and sample.labels["path"] == "/v1/responses"
    }


async def counted(client: aiohttp.ClientSession) -> dict[str, float]:
    """Requests so far, by status."""
    return {status: value for status, value in (await series(client)).items() if value}


async def test_every_status_that_a_door_may_answer_is_counted_from_0() -> None:
    """Else an alert does not see the first one: from nothing to 1 is no increase."""
    before_a_door = {"400", "404", "405"}
    async with asking() as (_, client):
        assert await series(client) == dict.fromkeys(responses("/v1/responses").keys() - before_a_door, 0)


async def test_a_failure_of_ours_is_counted_and_nothing_of_it_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError("planted")

    async with asking() as (intake, client):
        monkeypatch.setattr(intake.published, "publish", fail)
        assert "planted" not in json.dumps(await post(client, json.dumps(response()), JSON, 500))
        assert await counted(client) == {"500": 1}


async def test_an_answer_that_takes_too_long_is_counted_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "ANSWER_TIMEOUT_S", 0.2)
    async with asking() as (intake, client):
        monkeypatch.setattr(intake.published, "publish", lambda *_: asyncio.sleep(30))
        await post(client, json.dumps(response()), JSON, 504)
        assert await counted(client) == {"504": 1}


@pytest.mark.parametrize("body", [b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"])
async def test_a_client_that_hangs_up_in_the_middle_is_no_failure_of_ours(
    body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    head = f"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer {TOKEN}"
    async with asking() as (intake, client):
        host, port = intake.server.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head.encode() + b"\r\n" + body)
        await asyncio.sleep(0.1)
        writer.close()
        for _ in range(100):
            if found := await counted(client):
                break
            await asyncio.sleep(0.05)
        assert found == {"408": 1}
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]
