"""/metrics: what Prometheus is told, in which form, and who may ask."""

import json
import re
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.test import Client
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families as families

from detection.metrics import scrape_token
from detection.pipeline import Pipeline
from detection.queueing import EngineUnavailable
from detection.runtime import Runtime
from tests import events
from tests.locking import locked
from tests.server import ROOT, Server, manage
from tests.sse import EventSource

Labels = frozenset[tuple[str, str]]
OPENMETRICS = "application/openmetrics-text; version=1.0.0,text/plain;version=0.0.4;q=0.5"


def parsed(text: str) -> dict[str, dict[Labels, float]]:
    """Samples by name and labels."""
    found: dict[str, dict[Labels, float]] = {}
    for family in families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


class Scrape:
    """What a server's /metrics said, without the prefix."""

    def __init__(self, server: Server) -> None:
        status, _, body = server.request("GET", "/metrics")
        assert status == 200, body
        self.all = parsed(body.decode())

    def __call__(self, name: str, **labels: str) -> float | None:
        series = self.all.get(f"behaviourlens_{name}", {})
        return series.get(frozenset(labels.items()))


def wait_for(server: Server, holds: Any, timeout: float = 15.0) -> Scrape:
    """Scrape until `holds(scrape)`."""
    deadline = time.monotonic() + timeout
    while not holds(scrape := Scrape(server)):
        assert time.monotonic() < deadline, scrape.all
        time.sleep(0.05)
    return scrape


@pytest.fixture
def local(settings: Any) -> None:
    """As on one's own machine: open."""
    settings.DEBUG = True


# --- what is told -------------------------------------------------------------------------


def test_what_came_in_is_counted(server: Server) -> None:
    visitor, other = events.visitor(), events.visitor()
    shopping = events.loop(visitor)
    sent = len(shopping)
    envelope = {"batch": "b1", "sent_at": 5, "events": shopping}
    for _ in range(3):
        assert server.post(envelope)[0] == 202
    assert server.post([*events.abandonment(other), {"user_id": 7}, {"page": 1}])[0] == 202
    counted = sent + len(events.abandonment(other))
    assert server.post({"bot": True, "sent_at": 5, "events": events.loop(visitor)})[0] == 202
    assert server.request("POST", "/events", b"{")[0] == 400
    assert server.request("POST", "/events", b"{")[0] == 400
    scrape = wait_for(
        server,
        lambda told: told("patterns_opened_total", type="abandonment", severity="high") == 1,
    )
    assert scrape("events_accepted_total") == counted
    assert scrape("events_duplicate_total") == 2 * sent
    assert scrape("events_bots_total") == sent
    assert scrape("events_rejected_total", reason="invalid") == 2
    assert scrape("requests_refused_total", reason="malformed") == 2
    assert scrape("journal_events_total") == counted
    assert scrape("journal_batches_total") == 2
    assert scrape("patterns_opened_total", type="navigation-loop", severity="low") == 1
    assert scrape("visitors") == 2
    assert scrape("window_bytes")
    assert scrape("attempts") == 1
    assert scrape("engine_answering") == 1
    assert scrape("state", state="running") == 1
    assert sum(scrape.all["behaviourlens_state"].values()) == 1
    assert scrape("queue_events") == 0
    assert scrape("database_trouble") == 0


def test_late_corrected_and_escalated(server: Server) -> None:
    visitor, other = events.visitor(), events.visitor()
    now = server.get("/health")["timestamp"]
    server.post([events.event(visitor, "navigate", "/a", timestamp=now - 1_000)])
    server.post([events.event(visitor, "navigate", "/late", timestamp=now - 60_000)])
    server.post(events.event(visitor, timestamp=0))
    server.post(events.loop(other, visits=5))
    server.post(events.loop(other, "/b", "/a", visits=2))
    scrape = wait_for(
        server,
        lambda told: told("patterns_escalated_total", type="navigation-loop", severity="medium"),
    )
    assert scrape("patterns_opened_total", type="navigation-loop", severity="low") == 1
    assert scrape("patterns_opened_total", type="navigation-loop", severity="medium") is None
    assert scrape("events_late_total", site="1") == 1
    assert scrape("events_corrected_total") == 1


def test_the_journal_is_measured(server: Server) -> None:
    server.post(events.loop(events.visitor()))
    with closing(sqlite3.connect(server.database)) as database:
        (held,) = database.execute("SELECT sum(size) FROM detection_journalentry").fetchone()
    assert held
    scrape = wait_for(server, lambda told: (told("journal_bytes") or 0) >= held)
    assert (scrape("journal_bytes") or 0) < 100 * held + 10_000


def test_streams_are_counted_while_they_are_open(server: Server) -> None:
    assert Scrape(server)("streams_open") == 0
    with EventSource(f"{server.url}/api/stream"):
        wait_for(server, lambda told: told("streams_open") == 1)
    wait_for(server, lambda told: told("streams_open") == 0)


def test_an_engine_that_does_not_answer_hides_nothing_else(server: Server) -> None:
    """The pipeline waits for a lock: what is in memory is told all the same, and soon."""
    server.post(events.loop(events.visitor()))
    full = set(Scrape(server).all)
    stop = threading.Event()

    def knock() -> None:
        while not stop.wait(0.05):
            server.post(events.loop(events.visitor()))

    with locked(server.database):
        knocking = threading.Thread(target=knock)
        knocking.start()
        try:
            scrape = wait_for(server, lambda told: told("engine_answering") == 0)
        finally:
            stop.set()
    knocking.join()
    assert "behaviourlens_events_accepted_total" in scrape.all
    assert "behaviourlens_visitors" not in scrape.all, "nothing is told that is not known"
    assert "process_resident_memory_bytes" in scrape.all
    assert len(scrape.all) > len(full) / 2
    wait_for(server, lambda told: told("engine_answering") == 1 and not told("database_trouble"))


@pytest.mark.usefixtures("local")
def test_a_process_that_does_not_serve_the_engine(client: Client) -> None:
    told = parsed(client.get("/metrics").content.decode())
    assert told["behaviourlens_engine_answering"] == {frozenset(): 0}
    assert told["behaviourlens_state"][frozenset({("state", "idle")})] == 1
    assert "behaviourlens_visitors" not in told
    assert "behaviourlens_queue_capacity_events" in told


@pytest.mark.usefixtures("local")
def test_the_engine_is_given_a_second(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    def ask(self: Pipeline, question: object, timeout: float) -> None:
        given.append(timeout)
        raise EngineUnavailable("the engine did not answer in time")

    monkeypatch.setattr(Pipeline, "ask", ask)
    assert client.get("/metrics").status_code == 200
    assert given == [1.0], "asked once, and for no longer"


@pytest.mark.usefixtures("local")
def test_the_journal_is_not_told_before_it_is_counted(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime: Runtime = apps.get_app_config("detection").runtime
    for size, told in ((None, False), (0, True)):
        monkeypatch.setattr(type(runtime.upkeep), "journal_bytes", size)
        page = parsed(client.get("/metrics").content.decode())
        assert ("behaviourlens_journal_bytes" in page) is told


def test_what_visitors_send_becomes_no_label(server: Server) -> None:
    before = {name: set(series) for name, series in Scrape(server).all.items()}
    for n in range(50):
        odd = [
            events.event(f"v{n}", "navigate", f"/page{n}", metadata={f"key{n}": "x"}),
            {"user_id": f"v{n}", "action": f"action{n}"},
        ]
        server.post({"site": f"key{n}", "sent_at": 5, "events": odd})
        server.post(odd)
        server.request("POST", f"/events?site=other{n}", json.dumps(odd).encode())
    after = {name: set(series) for name, series in Scrape(server).all.items()}
    news = {name: labels - before.get(name, set()) for name, labels in after.items()}
    assert {name: len(labels) for name, labels in news.items() if labels} == {
        "behaviourlens_events_late_total": 1,  # of the one site
        "behaviourlens_requests_refused_total": 1,  # unknown_key
    } | ({"behaviourlens_journal_bytes": 1} if news.get("behaviourlens_journal_bytes") else {})


# --- how it is told -----------------------------------------------------------------------


@pytest.mark.usefixtures("local")
def test_the_forms(client: Client) -> None:
    plain = client.get("/metrics")
    assert plain["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert plain["Cache-Control"] == "no-store"
    answer = client.get("/metrics", headers={"accept": OPENMETRICS})
    assert answer["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    strict = {family.name for family in openmetrics_families(answer.content.decode())}
    assert {re.sub("_total$", "", family.name) for family in families(plain.content.decode())} <= {
        *strict,
        *(f"{name}_info" for name in strict),
    }


def test_head_and_other_methods(server: Server) -> None:
    status, headers, body = server.request("HEAD", "/metrics")
    assert (status, body) == (200, b"")
    assert headers["content-type"].startswith("text/plain")
    assert server.request("POST", "/metrics", b"")[0] == 405


@pytest.mark.usefixtures("local")
def test_what_runs_is_named(client: Client) -> None:
    told = parsed(client.get("/metrics").content.decode())
    (labels,) = told["behaviourlens_build_info"]
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert dict(labels)["version"] == version[1]
    assert dict(labels)["database"] == "sqlite"


# --- who is told --------------------------------------------------------------------------


@pytest.mark.usefixtures("db")
def test_without_a_login_nothing_is_told(client: Client, settings: Any) -> None:
    settings.DEBUG = False
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Bearer \xe9"}):
        answer = client.get("/metrics", headers=headers)
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "forbidden"
        assert b"behaviourlens" not in answer.content


@pytest.mark.usefixtures("db")
def test_staff_may_look(admin_client: Client, settings: Any) -> None:
    settings.DEBUG = False
    assert admin_client.get("/metrics").status_code == 200


def test_the_token_opens_without_the_database(client: Client, settings: Any) -> None:
    """A test without a database fails where one is asked."""
    settings.DEBUG = False
    headers = {"authorization": f"Bearer {scrape_token()}"}
    assert client.get("/metrics", headers=headers).status_code == 200
    settings.SECRET_KEY = "another key"
    assert scrape_token() != headers["authorization"].split()[1]


def test_the_token_is_the_servers(tmp_path: Path, migrated: Path) -> None:
    public = {"DEBUG": "off", "ALLOWED_HOSTS": "127.0.0.1"}
    with Server(tmp_path, migrated, **public) as server:
        assert server.request("GET", "/metrics")[0] == 403
        token = manage(server.database, "metrics_token", **public).stdout.strip()
        headers = {"Authorization": f"Bearer {token}"}
        status, _, body = server.request("GET", "/metrics", headers=headers)
    assert status == 200
    assert b"behaviourlens_state" in body


def test_the_command_prints_the_token_alone(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("metrics_token")
    assert capsys.readouterr().out == f"{scrape_token()}\n"
