"""Turns of the event loop kept short: nothing ready is lost, forgotten or served twice."""

import asyncio
import selectors
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from detection.fairness import AT_ONCE, FewAtOnce, share

COUNT = 3 * AT_ONCE + 1


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    with ExitStack() as stack:
        made = [socket.socketpair() for _ in range(COUNT)]
        for ours, theirs in made:
            stack.enter_context(ours)
            stack.enter_context(theirs)
            ours.setblocking(False)
        yield made


def test_each_is_served_once_before_any_a_second_time(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    now = [0.0]
    with selectors.DefaultSelector() as selector:
        few = FewAtOnce(selector, clock=lambda: now[0])
        for ours, theirs in pairs:
            selector.register(ours, selectors.EVENT_READ)
            theirs.send(b"!")
        served: list[int] = []
        lateness = []
        while len(served) < COUNT:
            portion = few(0)
            assert 0 < len(portion) <= AT_ONCE
            served += [key.fd for key, _ in portion]
            lateness.append(few.late)
            now[0] += 0.01
        assert sorted(served) == sorted(ours.fileno() for ours, _ in pairs)
        assert lateness == pytest.approx([0.0, 0.01, 0.02, 0.03])
        assert [key.fd for key, _ in few(0)] == served[:AT_ONCE]


def test_what_is_closed_or_not_listened_to_any_more_is_left_alone(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    with selectors.DefaultSelector() as selector:
        few = FewAtOnce(selector)
        for ours, theirs in pairs:
            selector.register(ours, selectors.EVENT_READ)
            theirs.send(b"!")
        first = {key.fd for key, _ in few(0)}
        waiting = [ours for ours, _ in pairs if ours.fileno() not in first]
        count = len(waiting)
        selector.unregister(waiting[0])
        selector.modify(waiting[1], selectors.EVENT_WRITE)
        told: list[int] = []
        for _ in range(-(-(count - 2) // AT_ONCE)):  # their portions, and not one more
            told += [key.fd for key, _ in few(0)]
        assert waiting[0].fileno() not in told
        assert waiting[1].fileno() not in told
        assert sorted(told) == sorted(ours.fileno() for ours in waiting[2:])


def test_nothing_ready_is_an_empty_turn() -> None:
    with selectors.DefaultSelector() as selector:
        assert FewAtOnce(selector)(0) == []


def test_a_loop_goes_on_between_portions(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    """What a callback asks the loop to do soon is done before the next portion, not after all."""
    order: list[str] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        few = share(loop)
        assert few is not None
        assert share(loop) is few
        read = asyncio.Event()

        def on_ready(ours: socket.socket) -> None:
            ours.recv(1)
            order.append("read")
            if order.count("read") == 1:
                loop.call_soon(order.append, "soon")
            if order.count("read") == COUNT:
                read.set()

        for ours, theirs in pairs:
            theirs.send(b"!")
            loop.add_reader(ours, on_ready, ours)
        await asyncio.wait_for(read.wait(), 10)
        for ours, _ in pairs:
            loop.remove_reader(ours)

    asyncio.run(run())
    assert order.count("read") == COUNT
    assert order.index("soon") <= AT_ONCE


def test_a_loop_without_a_selector_is_left_as_it_is() -> None:
    class Other:
        pass

    assert share(Other()) is None  # type: ignore[arg-type]
