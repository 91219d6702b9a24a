"""Where the shell reads the clocks, and the exact way between ms and datetimes.

Two times are told here. `now_ms` is the wall clock: the time that an answer or a row says it is.
`arrival_ms` is the time that the engine lives by: the wall clock as well, but one that never goes
back, whatever an operator, a time server or a restart does to the other.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

logger = logging.getLogger(__name__)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS = 1_000_000  # in ns
# How far behind the wall clock has to be before it is worth a line in the log, ns.
WORTH_SAYING = 1_000 * MS


def now_ms() -> int:
    """The wall clock in epoch ms."""
    return time.time_ns() // MS


class SteadyClock:
    """Epoch ms that never go back.

    It is the wall clock while that goes forwards, by leaps too (a machine slept, and its monotonic
    clock may have stood still). Where the wall clock is set back, this one goes on from where it
    was, by the monotonic clock and at 15/16 of its pace, until the wall clock has caught up: what
    is measured by it is at most 1/16 too short, and an hour set back is healed in 16.

    wall, monotonic: the clocks it reads, ns. Any thread may read it.
    """

    def __init__(
        self,
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._time = 0  # what it last said, epoch ns
        self._read = monotonic()  # when that was
        self._said = False

    def read_ms(self) -> int:
        """What time it is: epoch ms, never less than what it said before."""
        with self._lock:
            behind = self._go_on()
            news = (behind > WORTH_SAYING) if not self._said else not behind
            self._said ^= news
            now = self._time // MS
        if news:
            self._say(behind)
        return now

    def not_before(self, ms: int) -> None:
        """From now on it says at least `ms`, and goes on from there."""
        with self._lock:
            self._go_on()
            self._time = max(self._time, ms * MS)

    def _go_on(self) -> int:
        """Read both clocks; how far the wall clock is behind this one, ns."""
        wall = self._wall()
        monotonic = self._monotonic()
        passed = monotonic - self._read
        self._read = monotonic
        self._time = max(wall, self._time + passed * 15 // 16)
        return self._time - wall

    def _say(self, behind: int) -> None:
        if behind:
            logger.warning(
                "The machine's clock is %.1f s behind what it was. Events go on being timed from"
                " where it was, 1/16 slower, until it has caught up.",
                behind / 1e9,
            )
        else:
            logger.info("The machine's clock has caught up; events are timed by it again.")


_steady = SteadyClock()


def arrival_ms() -> int:
    """The time of what arrives now, and of the engine: epoch ms, never going back."""
    return _steady.read_ms()


def not_before(ms: int) -> None:
    """Let `arrival_ms` say at least `ms`: what was kept before a restart is not in the future."""
    _steady.not_before(ms)


def to_datetime(ms: int) -> datetime:
    """Epoch ms as an aware datetime, exact to the millisecond."""
    return EPOCH + timedelta(milliseconds=ms)


def to_ms(moment: datetime) -> int:
    """An aware datetime as epoch ms."""
    return (moment - EPOCH) // timedelta(milliseconds=1)
