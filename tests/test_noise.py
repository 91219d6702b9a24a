"""What the console is spared, and what it is not."""

import asyncio
import logging
from typing import Any

import pytest
from django.core.exceptions import RequestAborted
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.log import log_response


def heard(logger: str, monkeypatch: pytest.MonkeyPatch) -> list[logging.LogRecord]:
    """The records that a logger lets through from now on."""
    records: list[logging.LogRecord] = []
    named = logging.getLogger(logger)
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", records.append)
    monkeypatch.setattr(named, "handlers", [handler])
    return records


@pytest.mark.parametrize(("status", "told"), [(500, 1), (502, 1), (503, 0), (404, 0), (400, 0)])
def test_an_answer_is_told_where_it_is_the_operators_news(
    status: int, told: int, rf: RequestFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = heard("django.request", monkeypatch)
    log_response("Answered", response=HttpResponse(status=status), request=rf.get("/ready"))
    assert len(records) == told


@pytest.mark.parametrize(("error", "told"), [(RequestAborted(), 0), (ValueError("a bug"), 1)])
def test_a_caller_who_left_is_no_error(
    error: Exception, told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = heard("asyncio", monkeypatch)

    async def listen() -> None:
        raise error

    async def cancelled() -> None:
        listener: asyncio.Task[Any] = asyncio.create_task(listen())
        await asyncio.wait([listener])

    asyncio.run(cancelled())
    assert len(records) == told
