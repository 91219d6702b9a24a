"""How much one sender may send: token buckets for each address and for each site's key.

A bucket fills at the rate of BL_RATE_LIMIT, in events a second, up to ten seconds' worth. A request
is taken while its bucket is not empty, and then takes what it holds, which may leave a debt: so a
large batch is taken whole or not at all, and the rate holds over time all the same.

Addresses are held in memory alone, the latest heard, and neither stored nor logged.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Final, Protocol

from detection.wire import WireError

# What a bucket holds, in seconds of its rate.
BURST_S: Final = 10
# Buckets held; beyond that the one unused for longest goes, and would be full when it comes again.
MOST_ADDRESSES: Final = 50_000
MOST_KEYS: Final = 10_000

Clock = Callable[[], float]


class Rates(Protocol):
    """Events a second: what BL_RATE_LIMIT says."""

    @property
    def address(self) -> int: ...
    @property
    def key(self) -> int: ...


class Buckets:
    """Token buckets by name; each begins full. rate: tokens a second. most: buckets held."""

    def __init__(self, rate: int, most: int, clock: Clock = time.monotonic) -> None:
        self._rate = rate
        self._full = float(rate * BURST_S)
        self._most = most
        self._clock = clock
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, at

    def __len__(self) -> int:
        return len(self._held)

    def take(self, name: str, tokens: int) -> float:
        """Take tokens where there is at least one. Else take none: seconds until there is one."""
        now = self._clock()
        there = self._there(name, now)
        if there < 1:
            return (1 - there) / self._rate
        self._put(name, there - tokens, now)
        return 0.0

    def charge(self, name: str, tokens: int) -> None:
        """Take tokens, whether they are there or not."""
        now = self._clock()
        self._put(name, self._there(name, now) - tokens, now)

    def _there(self, name: str, now: float) -> float:
        tokens, at = self._held.get(name, (self._full, now))
        return min(self._full, tokens + (now - at) * self._rate)

    def _put(self, name: str, tokens: float, now: float) -> None:
        self._held[name] = (tokens, now)
        self._held.move_to_end(name)
        if len(self._held) > self._most:
            self._held.popitem(last=False)


class Limits:
    """Both kinds of buckets; used by the event loop alone."""

    def __init__(self, rates: Rates, clock: Clock = time.monotonic) -> None:
        self.addresses = Buckets(rates.address, MOST_ADDRESSES, clock)
        self.keys = Buckets(rates.key, MOST_KEYS, clock)

    def enter(self, address: str) -> None:
        """A request has come, whatever it holds: one token. Raises WireError."""
        if wait := self.addresses.take(address, 1):
            raise _too_fast("This address sends", wait)

    def events(self, address: str, key: str, count: int) -> None:
        """It holds so many events. Raises WireError, and then the address has paid all the same."""
        self.addresses.charge(address, count - 1)
        if wait := self.keys.take(key, count):
            raise _too_fast("This site is sent", wait)


def network(address: str) -> str:
    """By what an address is told from others: itself, or of IPv6 the half that a provider gives."""
    if ":" not in address:
        return address
    try:
        known = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return f"{int(known) >> 64:x}/64"


def _too_fast(who: str, wait: float) -> WireError:
    seconds = max(1, math.ceil(wait))
    return WireError(
        429,
        "too_fast",
        f"{who} more than BL_RATE_LIMIT allows; send the events again in {seconds} s.",
        retry_after=seconds,
    )
