"""Requests that meet a database in trouble: told to come again, and not one line of log each."""

import threading
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError
from django.test import Client

from detection.seldom import Seldom


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_request_that_meets_trouble_is_told_to_come_again(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def refuse(**which: object) -> None:
        raise error("the connection is closed")

    settings.DEBUG = True
    monkeypatch.setattr("detection.access.Site.objects.get", refuse)
    answer = client.get("/api/patterns")
    assert answer.status_code == 503
    assert answer["Retry-After"]


def test_requests_that_meet_trouble_do_not_fill_the_log(
    client: Client,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(**which: object) -> None:
        raise OperationalError("database is locked")

    settings.DEBUG = True
    monkeypatch.setattr("detection.access.Site.objects.get", refuse)
    monkeypatch.setattr("detection.rest._worth_saying", Seldom(60))
    for _ in range(5):
        assert client.get("/api/patterns").status_code == 503
    said = [record for record in caplog.records if record.name == "detection.rest"]
    assert len(said) == 1
    assert "database is locked" in said[0].getMessage()


def test_seldom() -> None:
    times = iter([0.0, 59.9, 60.0, 100.0, 119.9, 120.0])
    seldom = Seldom(60, clock=lambda: next(times))
    assert [seldom.now() for _ in range(6)] == [True, False, True, False, False, True]


def test_seldom_says_yes_to_one_thread() -> None:
    seldom = Seldom(60)
    said: list[bool] = []
    threads = [threading.Thread(target=lambda: said.append(seldom.now())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == [False] * 19 + [True]
