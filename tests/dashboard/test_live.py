"""What is sent by the second to all dashboards at once."""

import pytest

from dashboard import live
from detection.api import EngineUnavailable
from detection.engine.snapshots import ActiveVisitor
from detection.shapes import StatsOut

NOW = 1_760_000_000_000


class Board:
    """A site's live channel, an engine and a clock, as a test sets them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.heard = True
        self.engine = True
        self.seconds = 100.0
        self.visitors: list[ActiveVisitor] = []
        self.sent: list[tuple[str, str, str]] = []
        self.asked = 0
        self.tick = live.Ticker(clock=lambda: self.seconds)
        monkeypatch.setattr(live, "has_listeners", lambda channel: self.heard)
        monkeypatch.setattr(live, "send_passing", lambda *event: self.sent.append(event))
        monkeypatch.setattr(live, "stats", self._stats)
        monkeypatch.setattr(live, "active_visitors", lambda site, within_ms: self._visitors())

    def _visitors(self) -> list[ActiveVisitor]:
        self.asked += 1
        if not self.engine:
            raise EngineUnavailable("not here")
        return list(self.visitors)

    def _stats(self, site: int) -> StatsOut:
        if not self.engine:
            raise EngineUnavailable("not here")
        return StatsOut(
            total_events=1000,
            active_users=1,
            patterns_detected=2,
            abandonment_rate=0.125,
            as_of=NOW,
        )

    def turn(self, seconds: float = 1.0) -> list[str]:
        """Let time pass and tick; the names of the events sent."""
        self.seconds += seconds
        self.sent.clear()
        self.tick(1)
        return [name for _, name, _ in self.sent]


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    return Board(monkeypatch)


def test_figures_every_five_seconds_sessions_with_them(board: Board) -> None:
    turns = [board.turn() for _ in range(6)]
    assert turns == [["metrics", "sessions"], [], [], [], [], ["metrics", "sessions"]]


def test_sessions_as_soon_as_they_change(board: Board) -> None:
    board.turn()
    board.visitors = [ActiveVisitor("v", "", "/cart", NOW)]
    assert board.turn() == ["sessions"]
    assert board.sent[0][0] == "live-1"
    assert "/cart" in board.sent[0][2]
    assert board.turn() == []


def test_nobody_there_nothing_asked(board: Board) -> None:
    board.heard = False
    assert board.turn() == []
    assert board.asked == 0


def test_who_comes_later_is_told_at_once(board: Board) -> None:
    board.turn()
    board.heard = False
    board.turn(60)
    board.heard = True
    assert board.turn() == ["metrics", "sessions"]


def test_without_an_engine_it_waits(board: Board) -> None:
    board.engine = False
    assert board.turn() == []
    board.engine = True
    assert board.turn() == ["metrics", "sessions"]


def test_a_crowd_is_counted_and_its_latest_shown(board: Board) -> None:
    board.visitors = [ActiveVisitor(f"v{n}", "", "/", NOW) for n in range(live.MOST_SESSIONS + 7)]
    board.turn()
    sessions = board.sent[1][2]
    assert sessions.count("data-visitor=") == live.MOST_SESSIONS
    assert ">57<" in sessions
    assert "and 7 more" in sessions


def test_figures_are_said_as_people_write_them(board: Board) -> None:
    board.turn()
    metrics = board.sent[0][2]
    assert "1,000" in metrics
    assert "12.5%" in metrics
