"""How events are delivered and patterns read, against a server that speaks the protocol."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from demo_store.simulator import client
from demo_store.simulator.client import Clock, Lane, Settled, TryAgain, judge, pause, seconds
from demo_store.simulator.ledger import Journey, Ledger, Outgoing
from demo_store.simulator.report import notes
from demo_store.simulator.runner import tasks, wire
from demo_store.simulator.scenarios import ABANDONMENT, HESITATION, SCENARIOS, Step
from demo_store.simulator.watcher import Parser, UnreadableError, Watcher

BROWSE, HESITATE, _, ABANDON, _ = SCENARIOS
NAVIGATE = Step(1, "navigate", "/home")
IDLE = Step(1, "idle", "/home", {"duration_ms": 10_000}, HESITATION)
LEAVE = Step(1, "leave", "/payment", {}, ABANDONMENT)

Answer = Callable[[], web.Response]


def accepted(rejected: list[dict[str, Any]] | None = None) -> Answer:
    return lambda: web.json_response(
        {"status": "accepted", "accepted": 1, "rejected": rejected or []}, status=202
    )


def error(status: int, headers: dict[str, str] | None = None) -> Answer:
    body = {"error": {"code": "why", "message": "In so many words.", "field": None}}
    return lambda: web.json_response(body, status=status, headers=headers)


class Desk:
    """A lane to a server that gives the listed answers in turn, the last one for ever."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, received: list[dict[str, Any]]
    ) -> None:
        self.ledger = Ledger()
        self.lane = Lane(session, url, "", self.ledger, Clock())
        self.received = received

    def journey(self, scenario: Any = HESITATE) -> Journey:
        return self.ledger.begin(f"sim-{len(self.ledger._journeys)}", scenario)

    async def send(self, journey: Journey, *steps: Step) -> None:
        for step in steps:
            await self.lane.put(Outgoing(journey, step, wire(journey, step, 1, "1")))
        async with tasks([self.lane.run()]):
            await asyncio.wait_for(self.lane.drained(), 20)


@asynccontextmanager
async def serving(*routes: web.RouteDef) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def desk(*answers: Answer) -> AsyncIterator[Desk]:
    received: list[dict[str, Any]] = []

    async def events(request: web.Request) -> web.Response:
        received.append(json.loads(await request.read()))
        return answers[min(len(received), len(answers)) - 1]()

    async with (
        serving(web.post("/events", events)) as url,
        aiohttp.ClientSession() as session,
    ):
        yield Desk(session, url, received)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(client, "GATHER_S", 0.01)


def test_events_go_in_the_trackers_envelope() -> None:
    async def test() -> None:
        async with desk(accepted()) as at:
            await at.send(at.journey(), NAVIGATE, IDLE)
            [envelope] = at.received
            assert set(envelope) == {"batch", "sent_at", "events"}
            assert envelope["events"][1] == {
                "user_id": "sim-0",
                "action": "idle",
                "page": "/home",
                "timestamp": 1,
                "view": "1",
                "metadata": {"duration_ms": 10_000},
            }
            ledger = at.ledger
            assert (ledger.sent, ledger.accepted, ledger.refused) == (2, 2, 0)
            assert ledger.total().expected == 1

    run(test)


def test_the_key_of_a_site_is_sent_where_there_is_one() -> None:
    async def test() -> None:
        async with desk(accepted()) as at:
            at.lane._site = "K"
            await at.send(at.journey(), NAVIGATE)
            assert at.received[0]["site"] == "K"

    run(test)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_batch_that_is_put_off_is_sent_again_as_the_same_batch(status: int) -> None:
    async def test() -> None:
        async with desk(error(status), error(status), accepted()) as at:
            await at.send(at.journey(), NAVIGATE, IDLE)
            first, second, third = at.received
            assert first["batch"] == second["batch"] == third["batch"]
            assert first["events"] == third["events"]
            assert first["sent_at"] < second["sent_at"] < third["sent_at"]
            ledger = at.ledger
            assert (ledger.sent, ledger.accepted, ledger.failures) == (2, 2, 2)
            assert ledger.away == ""

    run(test)


def test_retry_after_is_waited_for() -> None:
    async def test() -> None:
        async with desk(error(503, {"Retry-After": "1"}), accepted()) as at:
            await at.send(at.journey(), NAVIGATE)
            first, second = at.received
            assert second["sent_at"] - first["sent_at"] >= 1_000

    run(test)


def test_every_new_batch_has_an_id_of_its_own() -> None:
    async def test() -> None:
        async with desk(accepted()) as at:
            await at.send(at.journey(), NAVIGATE)
            await at.send(at.journey(), NAVIGATE)
            first, second = at.received
            assert first["batch"] != second["batch"]

    run(test)


def test_an_event_that_is_refused_is_booked_with_its_reason_and_voids_the_expectation() -> None:
    async def test() -> None:
        rejected = {"index": 0, "field": "page", "message": "page is missing"}
        async with desk(accepted([rejected])) as at:
            await at.send(at.journey(), NAVIGATE, IDLE)
            ledger = at.ledger
            assert (ledger.sent, ledger.accepted, ledger.refused) == (2, 1, 1)
            assert ledger.refusals == {"page is missing": 1}
            assert ledger.total().expected == 0

    run(test)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413])
def test_a_batch_that_is_refused_is_not_sent_again(status: int) -> None:
    async def test() -> None:
        async with desk(error(status)) as at:
            await at.send(at.journey(), NAVIGATE, IDLE)
            assert len(at.received) == 1
            assert at.ledger.refused == 2
            assert at.ledger.refusals == {f"{status} why: In so many words.": 2}

    run(test)


def test_a_redirect_is_a_refusal_that_says_where_to() -> None:
    settled = judge(301, b"", 1, location="https://lens.example/events")
    reason = "301: the address leads elsewhere, to https://lens.example/events"
    assert settled == Settled({0: reason})


def test_a_server_that_is_away_is_said_and_tried_again_until_it_is_there(
    unused_port: int,
) -> None:
    async def test() -> None:
        received: list[dict[str, Any]] = []

        async def events(request: web.Request) -> web.Response:
            received.append(json.loads(await request.read()))
            return accepted()()

        async with aiohttp.ClientSession() as session:
            at = Desk(session, f"http://127.0.0.1:{unused_port}", received)
            sending = asyncio.ensure_future(at.send(at.journey(), NAVIGATE))
            while at.ledger.failures < 2:
                await asyncio.sleep(0.01)
            assert at.ledger.away == "the server is away (Connection refused)"
            assert not at.ledger.reached
            app = web.Application()
            app.add_routes([web.post("/events", events)])
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", unused_port).start()
            await sending
            await runner.cleanup()
            assert at.ledger.accepted == len(received) == 1
            assert (at.ledger.away, at.ledger.reached) == ("", True)

    run(test)


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"rejected": 3}', b'{"rejected": [3]}'])
def test_an_answer_that_says_nothing_more_is_taken_by_its_status(body: bytes) -> None:
    assert judge(202, body, 2) == Settled({})
    assert judge(503, body, 2) == TryAgain("the server answers 503")
    assert judge(400, body, 2) == Settled({0: "400", 1: "400"})


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("3", 3),
        ("0", 0),
        ("-1", 0),
        ("9999", 60),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
    ],
)
def test_retry_after(header: str, wait: float | None) -> None:
    assert seconds(header) == wait


def test_pauses_grow_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_PAUSE_S", 0.5)
    assert 0.5 <= pause(0, None) <= 0.625
    assert 2 <= pause(2, None) <= 2.5
    assert 8 <= pause(1_000, None) <= 10
    assert 5 <= pause(1_000, 5.0) <= 5.25


# --- patterns -------------------------------------------------------------------------


def pattern(user_id: str, pattern_id: str = "p1", **changes: Any) -> dict[str, Any]:
    return {
        "pattern_id": pattern_id,
        "type": HESITATION,
        "severity": "low",
        "explanation": "Idle for 10 s.",
        "user_id": user_id,
        "detected_at": 5_000,
    } | changes


def sse(event: str, data: Any, event_id: str = "") -> bytes:
    told = f"id: {event_id}\n" if event_id else ""
    return f"event: {event}\n{told}data: {json.dumps(data)}\n\n".encode()


def test_events_of_a_stream_come_whole_however_the_bytes_are_cut() -> None:
    raw = b": hello\n\nevent: stream-open\ndata:\n\n" + sse("pattern", {"a": "\u00e9"}, "site:4")
    raw += b"data: one\r\ndata: two\r\n\r\n"
    for size in (1, 2, 7, len(raw)):
        parser = Parser()
        told = [
            found
            for start in range(0, len(raw), size)
            for found in parser.feed(raw[start : start + size])
        ]
        assert [(one.event, one.data, one.id) for one in told] == [
            ("stream-open", "", ""),
            ("pattern", '{"a": "\\u00e9"}', "site:4"),
            ("message", "one\ntwo", ""),
        ]


def test_an_event_without_end_is_given_up() -> None:
    parser = Parser()
    for _ in range(8):
        assert list(parser.feed(b"x" * 1024 * 1024)) == []
    with pytest.raises(UnreadableError, match="without end"):
        list(parser.feed(b"x"))


class Source:
    """The stream and the list of patterns. Each connection gets the next of `streams`."""

    def __init__(self, *streams: list[bytes], pages: list[Any] | None = None) -> None:
        self.streams = list(streams)
        self.pages = pages or []
        self.last_ids: list[str | None] = []
        self.queries: list[dict[str, str]] = []

    async def stream(self, request: web.Request) -> web.StreamResponse:
        self.last_ids.append(request.headers.get("Last-Event-ID"))
        if not self.streams:
            return web.Response(status=503)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in self.streams.pop(0):
            await response.write(chunk)
        return response

    async def patterns(self, request: web.Request) -> web.Response:
        self.queries.append(dict(request.query))
        if not self.pages:
            return web.json_response([])
        return web.json_response(self.pages[min(len(self.queries), len(self.pages)) - 1])

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/api/stream", self.stream), web.get("/api/patterns", self.patterns)]


async def watched(source: Source, ledger: Ledger, done: Callable[[], bool]) -> None:
    async with serving(*source.routes()) as url, aiohttp.ClientSession() as session:
        watcher = Watcher(session, url, ledger, since_ms=1_000)
        async with asyncio.timeout(20), tasks([watcher.run()]):
            while not done():
                await asyncio.sleep(0.01)


def test_patterns_are_read_from_the_stream_which_is_resumed_where_it_broke(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("demo_store.simulator.watcher.RETRY_S", 0.02)
    ledger = Ledger()
    first, second = ledger.begin("a", HESITATE), ledger.begin("b", HESITATE)
    source = Source(
        [sse("stats", {}), sse("pattern", pattern("a"), "site:1"), sse("pattern", "nonsense")],
        [sse("pattern", pattern("b", "p2"), "site:2"), sse("pattern", pattern("nobody", "p3"))],
    )
    asyncio.run(watched(source, ledger, lambda: bool(second.seen)))
    assert first.seen == {HESITATION: "p1"}
    assert source.last_ids[:2] == [None, "site:1"]
    assert [sighting.pattern_id for sighting in ledger.latest] == ["p1", "p2"]


@pytest.mark.parametrize("told", ["stream-error", "stream-reset"])
def test_after_a_break_the_list_is_read(told: str) -> None:
    ledger = Ledger()
    journey = ledger.begin("a", HESITATE)
    source = Source([sse(told, {}, "error")], pages=[[pattern("a")]])
    asyncio.run(watched(source, ledger, lambda: bool(journey.seen)))
    assert source.queries[0] == {"limit": "500"}


def test_the_list_is_read_back_to_the_start_of_the_run() -> None:
    ledger = Ledger()
    journey = ledger.begin("a", HESITATE)
    page = [pattern("x", f"x{number}") for number in range(500)]
    old = [pattern("x", f"y{number}", detected_at=500) for number in range(500)]
    source = Source(pages=[page, [pattern("a"), *old[1:]], [pattern("a", "too-old")]])
    asyncio.run(watched(source, ledger, lambda: bool(journey.seen)))
    assert source.queries[:2] == [{"limit": "500"}, {"limit": "500", "before": "x499"}]
    assert journey.seen == {HESITATION: "p1"}


@pytest.mark.parametrize("answer", [web.HTTPUnauthorized, web.HTTPNotFound, web.HTTPOk])
def test_a_server_that_lets_nobody_read_is_said(answer: type[web.HTTPException]) -> None:
    async def test() -> None:
        async def closed(_: web.Request) -> web.Response:
            return web.Response(status=answer.status_code, text="<html>")

        ledger = Ledger()
        routes = [web.get("/api/stream", closed), web.get("/api/patterns", closed)]
        async with serving(*routes) as url, aiohttp.ClientSession() as session:
            async with asyncio.timeout(10), tasks([Watcher(session, url, ledger, 0).run()]):
                while not ledger.blind:
                    await asyncio.sleep(0.01)
            assert ledger.blind.startswith("/api/patterns answers ")

    run(test)


# --- the books ------------------------------------------------------------------------


def outgoing(journey: Journey, step: Step) -> list[Outgoing]:
    return [Outgoing(journey, step, {})]


def test_a_pattern_may_be_seen_before_the_answer_to_its_event() -> None:
    ledger = Ledger()
    journey = ledger.begin("a", HESITATE)
    ledger.sight(pattern("a"))
    assert ledger.total().seen == 0
    ledger.accept(outgoing(journey, IDLE), now=0)
    total = ledger.total()
    assert (total.expected, total.seen, total.unexpected) == (1, 1, 0)
    assert ledger.outstanding() == []


def test_a_pattern_that_only_escalates_counts_once() -> None:
    ledger = Ledger()
    ledger.accept(outgoing(ledger.begin("a", HESITATE), IDLE), now=0)
    ledger.sight(pattern("a"))
    ledger.sight(pattern("a", severity="high"))
    assert (ledger.total().seen, ledger.total().unexpected) == (1, 0)
    assert [sighting.severity for sighting in ledger.latest] == ["high"]


def test_a_left_page_is_given_the_servers_own_grace_as_well() -> None:
    ledger = Ledger(grace_s=10, leave_grace_s=30)
    ledger.accept(outgoing(ledger.begin("a", HESITATE), IDLE), now=100)
    ledger.accept(outgoing(ledger.begin("b", ABANDON), LEAVE), now=100)
    assert ledger.outstanding() == [110, 140]


def test_a_pattern_of_another_type_or_a_second_one_is_unexpected() -> None:
    ledger = Ledger()
    ledger.begin("a", HESITATE)
    ledger.begin("b", BROWSE)
    for _ in range(2):
        ledger.sight(pattern("a"))
        ledger.sight(pattern("a", "again"))
        ledger.sight(pattern("b", "p9"))
    assert ledger.tallies["hesitation"].unexpected == 1
    assert ledger.tallies["normal browse"].examples == ["hesitation (low) p9: Idle for 10 s."]


def test_at_most_three_examples_are_kept_and_old_visitors_are_forgotten() -> None:
    ledger = Ledger()
    journeys = [ledger.begin(f"u{number}", BROWSE) for number in range(10)]
    for number, journey in enumerate(journeys):
        ledger.sight(pattern(journey.user_id, f"p{number}"))
        ledger.end(journey, now=0, finished=True)
    tally = ledger.tallies["normal browse"]
    assert (tally.unexpected, len(tally.examples)) == (10, 3)
    ledger.end(ledger.begin("z", BROWSE), now=601, finished=False)
    ledger.sight(pattern("u1", "late"))
    assert tally.unexpected == 10
    assert (tally.started, tally.finished, tally.running) == (11, 10, 0)


def test_what_the_server_says_cannot_steer_a_terminal() -> None:
    ledger = Ledger()
    ledger.begin("a", BROWSE)
    ledger.sight(pattern("a", explanation="\x1b[2JIdle\r\non\x07 /home"))
    assert ledger.latest[0].explanation == "[2JIdleon /home"


def test_a_server_that_limits_its_senders_is_named_in_the_report() -> None:
    async def go() -> None:
        async with desk(error(429, {"Retry-After": "0"}), accepted()) as at:
            await at.send(at.journey(), NAVIGATE)
            assert at.ledger.too_fast == at.ledger.failures == 1
            assert any(
                "429, 1 times" in note and "BL_RATE_LIMIT=off" in note for note in notes(at.ledger)
            )

    asyncio.run(go())
