"""The clock that events are timed by: it never goes back, and goes on when the machine's does."""

import itertools
import logging
import threading
import time
from datetime import UTC, datetime

import pytest

from detection import clock
from detection.clock import SteadyClock
from detection.engine.engine import Engine
from detection.engine.events import Event
from detection.engine.patterns import Change

T0 = 1_800_000_000_000
MS = 1_000_000  # in ns
SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


class Machine:
    """A machine's two clocks, moved by hand."""

    def __init__(self) -> None:
        self.wall = T0 * MS
        self.monotonic = 5_000 * MS
        self.clock = SteadyClock(lambda: self.wall, lambda: self.monotonic)

    def after(self, ms: float) -> int:
        """What the clock says `ms` later."""
        self.wall += int(ms * MS)
        self.monotonic += int(ms * MS)
        return self.clock.read_ms()

    def set(self, ms: int) -> None:
        """Set the wall clock forwards or (below 0) back."""
        self.wall += ms * MS

    def sleep(self, ms: int) -> int:
        """What the clock says after a sleep, in which the monotonic clock stands still."""
        self.wall += ms * MS
        return self.clock.read_ms()


@pytest.fixture
def machine() -> Machine:
    return Machine()


# --- what it says -----------------------------------------------------------------------


def test_it_is_the_wall_clock_while_that_goes_forwards(machine: Machine) -> None:
    assert [machine.after(ms) - T0 for ms in (0, 1, 0, 999, HOUR)] == [0, 1, 1, 1000, HOUR + 1000]


def test_it_follows_a_jump_ahead(machine: Machine) -> None:
    machine.after(1000)
    machine.set(HOUR)
    assert machine.after(1) == T0 + HOUR + 1001
    assert machine.after(1) == T0 + HOUR + 1002, "and the wall clock after it"


def test_it_wakes_with_the_machine(machine: Machine) -> None:
    machine.after(1000)
    assert machine.sleep(8 * HOUR) == T0 + 8 * HOUR + 1000


def test_set_back_it_goes_on_a_sixteenth_slower(machine: Machine) -> None:
    assert machine.after(0) == T0
    machine.set(-HOUR)
    assert machine.after(0) == T0
    assert machine.after(16) == T0 + 15
    assert machine.after(16 * MINUTE) == T0 + 15 * MINUTE + 15


@pytest.mark.parametrize("back", [1, 999, MINUTE, HOUR, 24 * HOUR])
def test_it_is_the_wall_clock_again_after_sixteen_times_the_jump(
    machine: Machine, back: int
) -> None:
    machine.after(0)
    machine.set(-back)
    assert machine.after(16 * back - 16) == T0 + 15 * back - 15, "still ahead"
    assert machine.after(16) == T0 + 15 * back
    assert machine.after(1000) == T0 + 15 * back + 1000 == machine.wall // MS


def test_how_often_it_is_read_changes_nothing(machine: Machine) -> None:
    rarely = Machine()
    for each in (machine, rarely):
        each.after(0)
        each.set(-HOUR)
    for _ in range(16_000):
        often = machine.after(0.25)
    assert abs(often - rarely.after(4_000)) <= 1
    assert rarely.after(0) == T0 + 3_750


def test_back_and_ahead_again(machine: Machine) -> None:
    said = [machine.after(0)]
    for jump in (-HOUR, -HOUR, 30 * MINUTE, 0, 2 * HOUR, -MINUTE, MINUTE):
        machine.set(jump)
        said += [machine.after(0), machine.after(SECOND)]
    assert said == sorted(said)
    assert said[-1] == machine.wall // MS, "ahead of all it had said, so it is followed"


def test_it_does_not_begin_before_what_was_kept(machine: Machine) -> None:
    machine.clock.not_before(T0 + MINUTE)
    assert machine.after(0) == T0 + MINUTE
    assert machine.after(16 * SECOND) == T0 + MINUTE + 15 * SECOND
    assert machine.after(16 * MINUTE) == machine.wall // MS, "caught up"


def test_what_was_kept_long_ago_changes_nothing(machine: Machine) -> None:
    machine.after(1000)
    machine.clock.not_before(T0 - HOUR)
    assert machine.after(1) == T0 + 1001


def test_it_never_goes_back_whoever_reads_it() -> None:
    """Eight threads, and a wall clock that is all over the place."""
    jumps = itertools.cycle((0, 5, -9_000, 200, -40, 9_000, -1))
    base = time.time_ns()
    steady = SteadyClock(lambda: base + next(jumps) * MS)
    lock = threading.Lock()
    last = 0
    back: list[int] = []

    def read() -> None:
        nonlocal last
        for _ in range(2_000):
            with lock:
                before = last
            now = steady.read_ms()
            if now < before:
                back.append(now - before)
            with lock:
                last = max(last, now)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not back
    assert last >= base // MS + 9_000


def test_the_log_says_once_that_it_was_set_back_and_once_that_it_has_caught_up(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "detection.clock"):
        machine.after(0)
        machine.set(-900)
        machine.after(0)
        assert not caplog.records, "under a second is no news"
        machine.set(-10 * SECOND)
        for _ in range(3):
            machine.after(SECOND)
        machine.set(11 * SECOND)
        for _ in range(3):
            machine.after(SECOND)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "10.8 s behind" in caplog.text
    assert "caught up" in caplog.text


def test_it_reads_the_machines_clocks_where_no_others_are_given() -> None:
    before = clock.now_ms()
    assert before <= SteadyClock().read_ms() <= clock.now_ms()


def test_the_servers_own_does_not_go_back_either() -> None:
    arrival = clock.arrival_ms()
    clock.not_before(arrival + 5)
    assert clock.arrival_ms() >= arrival + 5


def test_ms_and_datetimes_are_exact() -> None:
    moment = datetime(2027, 1, 15, 8, 0, 0, 123_000, tzinfo=UTC)
    assert clock.to_ms(moment) == T0 + 123
    assert clock.to_datetime(T0 + 123) == moment


# --- what the engine makes of it ----------------------------------------------------------


class Visit(Machine):
    """One visitor of a real engine, heard by the machine's clock."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine()

    def heard(self, action: str = "click", page: str = "/a", **metadata: str) -> list[Change]:
        now = self.clock.read_ms()
        return self.engine.observe(Event(1, "u1", action, page, now, "", metadata or None), now)

    def advance(self, ms: int) -> list[Change]:
        return self.engine.advance(self.after(ms))

    def held(self) -> int:
        """How many events the window holds; 0 once the visitor is forgotten."""
        window = self.engine.window(1, "u1")
        return len(window.events) if window else 0


@pytest.fixture
def visit() -> Visit:
    return Visit()


JUMPS = pytest.mark.parametrize(
    "jumps", [(0,), (-HOUR,), (-HOUR, -HOUR), (-HOUR, HOUR), (-24 * HOUR,)], ids=str
)


@JUMPS
def test_a_window_holds_five_minutes_whatever_the_wall_clock_does(
    visit: Visit, jumps: tuple[int, ...]
) -> None:
    """An event a minute: 5 in a window, and 6 while the minutes are 15/16 as long."""
    for _ in range(10):
        visit.advance(MINUTE)
        visit.heard()
    assert visit.held() == 5
    for jump in jumps:
        visit.set(jump)
        for _ in range(15):
            visit.advance(MINUTE)
            visit.heard()
            assert visit.held() in (5, 6)
    visit.advance(6 * MINUTE)
    assert visit.held() == 0


@JUMPS
def test_a_visitor_is_forgotten_in_time(visit: Visit, jumps: tuple[int, ...]) -> None:
    visit.heard()
    for jump in jumps:
        visit.set(jump)
        visit.clock.read_ms()
    visit.advance(5 * MINUTE - 1)
    assert visit.held() == 1
    visit.advance(20 * SECOND + 1)  # 5 minutes × 16/15
    assert visit.held() == 0


@JUMPS
def test_a_cooldown_ends(visit: Visit, jumps: tuple[int, ...]) -> None:
    def pause() -> int:
        return len(visit.heard("idle", "/checkout", duration_ms="10000"))

    assert pause() == 1
    for jump in jumps:
        visit.set(jump)
        visit.clock.read_ms()
    visit.advance(MINUTE)
    assert pause() == 0
    visit.advance(MINUTE - 1)
    assert pause() == 0, "two minutes are not over"
    visit.advance(10 * SECOND)  # 2 minutes × 16/15 are 128 s
    assert pause() == 1


@JUMPS
def test_a_deadline_comes(visit: Visit, jumps: tuple[int, ...]) -> None:
    visit.heard("navigate", "/cart")
    visit.heard("navigate", "/checkout")
    visit.heard("leave", "/checkout")
    left = visit.engine.now
    for jump in jumps:
        visit.set(jump)
        visit.clock.read_ms()
    assert visit.advance(30 * SECOND - 1) == []
    (change,) = visit.advance(2 * SECOND + 1)  # 30 s × 16/15
    assert (change.pattern.type, change.at) == ("abandonment", left + 30 * SECOND)
