"""How much one sender may send: the buckets by a clock of the test's own, and at a real server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from detection.limits import BURST_S, MOST_ADDRESSES, Buckets, Limits, network
from detection.wire import WireError
from tests.events import event, loop, visitor
from tests.server import Server


class Rates(NamedTuple):
    address: int
    key: int


class Clock:
    """Seconds, as the test sets them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


# --- buckets -----------------------------------------------------------------------------
def test_a_bucket_begins_full_and_fills_at_its_rate() -> None:
    clock = Clock()
    buckets = Buckets(5, 10, clock)
    for _ in range(5 * BURST_S):
        assert buckets.take("a", 1) == 0
    assert buckets.take("a", 1) == pytest.approx(0.2)
    clock.now = 0.19
    assert buckets.take("a", 1) == pytest.approx(0.01)
    clock.now = 0.2001
    assert buckets.take("a", 1) == 0
    assert buckets.take("a", 1) > 0


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    clock = Clock()
    buckets = Buckets(5, 10, clock)
    buckets.take("a", 1)
    clock.now = 1e6
    assert [buckets.take("a", 1) == 0 for _ in range(51)] == [True] * 50 + [False]


def test_a_large_batch_is_taken_whole_and_leaves_a_debt() -> None:
    clock = Clock()
    buckets = Buckets(5, 10, clock)
    assert buckets.take("a", 100) == 0
    assert buckets.take("a", 1) == pytest.approx((1 + 50) / 5)
    clock.now = 10.3
    assert buckets.take("a", 1) == 0


def test_who_is_refused_pays_nothing() -> None:
    clock = Clock()
    buckets = Buckets(5, 10, clock)
    buckets.take("a", 50)
    waits = [buckets.take("a", 1) for _ in range(1000)]
    assert waits == [pytest.approx(0.2)] * 1000


def test_each_name_has_a_bucket_of_its_own() -> None:
    buckets = Buckets(5, 10, Clock())
    buckets.take("a", 100)
    assert buckets.take("b", 1) == 0


def test_the_one_unused_for_longest_goes_first() -> None:
    buckets = Buckets(5, 2, Clock())
    buckets.take("a", 100)
    buckets.take("b", 100)
    buckets.charge("a", 1)
    buckets.take("c", 1)
    assert len(buckets) == 2
    assert buckets.take("a", 1) > 0, "still known"
    assert buckets.take("b", 1) == 0, "forgotten, and so full"


def test_a_hundred_thousand_addresses_take_no_more_room_than_half_of_them() -> None:
    limits = Limits(Rates(1000, 20_000), Clock())
    for number in range(100_000):
        limits.enter(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(limits.addresses) == MOST_ADDRESSES


# --- both together -----------------------------------------------------------------------
def test_a_site_has_a_limit_of_its_own_and_the_address_pays_all_the_same() -> None:
    limits = Limits(Rates(100, 10), Clock())
    limits.enter("a")
    limits.events("a", "1", 500)
    with pytest.raises(WireError) as refused:
        limits.events("b", "1", 900)
    assert (refused.value.status, refused.value.code) == (429, "too_fast")
    assert refused.value.message.startswith("This site is sent more than BL_RATE_LIMIT allows")
    assert refused.value.retry_after == 41  # 401 tokens short, 10 a second
    limits.enter("b")

    def enter_often() -> None:
        for _ in range(101):
            limits.enter("b")

    with pytest.raises(WireError, match=r"^This address sends more"):
        enter_often()


@pytest.mark.parametrize(
    ("address", "told_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "20010db800010002/64"),
        ("2001:db8:1:2:ffff::1", "20010db800010002/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80000000000000/64"),
        ("not:an:address" * 20, ("not:an:address" * 20)[:64]),
        ("", ""),
    ],
)
def test_by_what_an_address_is_told_from_others(address: str, told_as: str) -> None:
    assert network(address) == told_as


# --- at a real server --------------------------------------------------------------------
@pytest.fixture
def limited(tmp_path: Path, migrated: Path) -> Iterator[Server]:
    with Server(tmp_path, migrated, BL_RATE_LIMIT="5/50") as running:
        yield running


def send(
    server: Server, body: object, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], dict[str, dict[str, str]]]:
    status, told, raw = server.request("POST", "/events", json.dumps(body).encode(), headers)
    return status, told, json.loads(raw)


def test_who_sends_too_fast_is_told_when_to_come_again_and_nothing_is_half_taken(
    limited: Server,
) -> None:
    who, late = visitor(), visitor()
    assert send(limited, [event(who)] * 55)[0] == 202, "whole, though it is more than a burst"
    batch = {"batch": "late", "events": loop(late)}
    status, headers, answer = send(limited, batch)
    assert (status, answer["error"]["code"]) == (429, "too_fast")
    assert 1 <= int(headers["retry-after"]) <= 2
    assert headers["access-control-expose-headers"] == "retry-after"
    assert limited.request("GET", f"/api/users/{late}/events")[0] == 404
    assert limited.get("/api/stats")["total_events"] == 55

    def delivered(_: object) -> bool:
        return send(limited, batch)[0] == 202

    limited.wait_for("/health", delivered)
    (found,) = limited.wait_for(f"/api/patterns?user={late}", bool)
    assert found["type"] == "navigation-loop"
    assert limited.get("/api/stats")["total_events"] == 60


def test_an_address_cannot_be_claimed_in_a_header(limited: Server) -> None:
    """Without a proxy that is trusted to say it, nobody is believed about whom he sends for."""
    assert send(limited, [event(visitor())] * 200)[0] == 202
    for number in range(5):
        claimed = f"203.0.113.{number}"
        names = ("X-Forwarded-For", "X-Real-IP", "CF-Connecting-IP", "True-Client-IP")
        headers = dict.fromkeys(names, claimed) | {"Forwarded": f"for={claimed}"}
        assert send(limited, event(visitor()), headers)[0] == 429


class Proxied(Server):
    """Behind a proxy that sets X-Forwarded-For."""

    def command(self) -> list[str]:
        first, *rest = super().command()
        return [first, *rest[:-1], "--proxy-headers", rest[-1]]


def test_behind_a_proxy_each_visitor_has_an_address(tmp_path: Path, migrated: Path) -> None:
    with Proxied(tmp_path, migrated, BL_RATE_LIMIT="5/5000") as server:
        one, other = {"X-Forwarded-For": "203.0.113.1"}, {"X-Forwarded-For": "203.0.113.2"}
        assert send(server, [event(visitor())] * 200, one)[0] == 202
        assert send(server, event(visitor()), one)[0] == 429
        assert send(server, event(visitor()), other)[0] == 202
