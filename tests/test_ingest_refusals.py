"""What is answered when a batch is not taken, or not kept: told by a pipeline that says so."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from detection import ingest
from detection.batches import Batch, Refusal
from detection.ingest import EventsEndpoint
from detection.models import DEFAULT_SITE_ID, Site
from detection.runtime import Counters
from detection.sites import SiteDirectory
from tests.events import event

ACCEPTED = {"status": "accepted", "accepted": 2, "rejected": []}


class Pipeline:
    """Takes a batch in the way that a test wants it taken."""

    capacity = 1_000
    queued_events = 0
    lag_ms = 0

    def __init__(self, offer: Callable[[Batch], Refusal | None]) -> None:
        self.offer = offer


class Runtime:
    def __init__(self, offer: Callable[[Batch], Refusal | None]) -> None:
        self.counters = Counters()
        self.pipeline = Pipeline(offer)
        self.sites = SiteDirectory()
        self.sites.refresh([Site(pk=DEFAULT_SITE_ID, key="key", name="Default site")])


def post(runtime: Runtime, *bodies: object) -> list[tuple[int, dict[str, str], Any]]:
    """What is answered to each; fails where a task is left behind."""
    endpoint = EventsEndpoint(runtime, unasked)  # type: ignore[arg-type]
    scope = {"type": "http", "method": "POST", "query_string": b"", "headers": []}

    async def one(body: object) -> tuple[int, dict[str, str], Any]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": json.dumps(body).encode()}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await endpoint(scope, receive, send)
        start, content = sent
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return start["status"], headers, json.loads(content["body"])

    async def all_of_them() -> list[tuple[int, dict[str, str], Any]]:
        answers = [await one(body) for body in bodies]
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return answers

    return asyncio.run(all_of_them())


async def unasked(*_: object) -> None:
    raise AssertionError("nobody asked")


def envelope(**more: Any) -> dict[str, Any]:
    return {"events": [event("u1"), event("u1")], **more}


def refuse_at_once(reason: Refusal) -> Callable[[Batch], Refusal]:
    return lambda batch: reason


def refuse_later(reason: Refusal) -> Callable[[Batch], None]:
    def offer(batch: Batch) -> None:
        batch.refuse(reason)

    return offer


WAIT = {
    Refusal.BUSY: "1",
    Refusal.STARTING: "1",
    Refusal.STANDBY: "5",
    Refusal.DATABASE: "5",
    Refusal.STOPPING: "2",
}


@pytest.mark.parametrize("when", ["at once", "later"])
@pytest.mark.parametrize("reason", Refusal)
def test_every_refusal_is_a_503_of_its_own(settings: Any, reason: Refusal, when: str) -> None:
    settings.DEBUG = True
    runtime = Runtime((refuse_at_once if when == "at once" else refuse_later)(reason))
    ((status, headers, answer),) = post(runtime, envelope())
    assert status == 503
    assert headers["retry-after"] == WAIT[reason]
    assert answer["error"]["code"] == reason.value
    assert answer["error"]["message"].endswith(".")
    assert runtime.counters.refusals == {reason.value: 1}
    assert runtime.counters.accepted == runtime.counters.rejected == 0


def test_each_refusal_says_something_else(settings: Any) -> None:
    settings.DEBUG = True
    said = {
        post(Runtime(refuse_at_once(reason)), envelope())[0][2]["error"]["message"]
        for reason in Refusal
    }
    assert len(said) == len(Refusal)


def test_who_waits_too_long_is_told_to_come_again(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DEBUG = True
    monkeypatch.setattr(ingest, "ANSWER_S", 0.02)
    taken: list[Batch] = []
    runtime = Runtime(taken.append)
    ((status, headers, answer),) = post(runtime, envelope(batch="b1"))
    assert (status, answer["error"]["code"], headers["retry-after"]) == (503, "busy", "1")
    assert runtime.counters.accepted == 0
    taken[0].answer()  # its loop is closed and nobody waits: that is nobody's trouble


def test_an_answer_that_comes_too_late_is_nobodys_trouble(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept after all; when it comes again it is known by its id."""
    settings.DEBUG = True
    monkeypatch.setattr(ingest, "ANSWER_S", 0.02)
    taken: list[Batch] = []

    def offer(batch: Batch) -> None:
        for earlier in taken:
            earlier.answer()
            earlier.refuse(Refusal.DATABASE)
            batch.duplicate = True
            batch.answer()
        taken.append(batch)

    runtime = Runtime(offer)
    first, second = post(runtime, envelope(batch="b1"), envelope(batch="b1"))
    assert (first[0], second[0]) == (503, 202)
    assert second[2] == ACCEPTED
    assert (runtime.counters.accepted, runtime.counters.duplicates) == (0, 2)


def test_what_is_counted(settings: Any) -> None:
    settings.DEBUG = True

    def offer(batch: Batch) -> None:
        batch.duplicate = batch.key == (DEFAULT_SITE_ID, "again")
        batch.answer()

    runtime = Runtime(offer)
    hour_ahead = event("u1", timestamp=4_000_000_000_000)
    answers = post(
        runtime,
        envelope(batch="b1"),
        envelope(batch="again"),
        [event("u1"), hour_ahead, event("u1", "fly")],
        event("u1"),
        envelope(bot=True),
        [event("u1", "fly")],
    )
    assert [status for status, _, _ in answers] == [202, 202, 202, 202, 202, 400]
    assert answers[1][2] == ACCEPTED, "the same answer as the first time"
    counters = runtime.counters
    assert (counters.accepted, counters.duplicates, counters.bots) == (5, 2, 2)
    assert (counters.corrected, counters.rejected) == (1, 1)
    assert counters.refusals == {"invalid": 1}


def test_a_batch_knows_the_size_of_its_body(settings: Any) -> None:
    settings.DEBUG = True
    taken: list[Batch] = []

    def offer(batch: Batch) -> None:
        taken.append(batch)
        batch.answer()

    body = envelope(batch="b1")
    post(Runtime(offer), body)
    assert taken[0].size == len(json.dumps(body))
