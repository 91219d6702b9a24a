"""The founding patterns, with the engine saved and restored after every event."""

import pytest

from detection.engine.engine import Engine

from . import test_abandonment, test_hesitation, test_navigation_loop, test_recovery
from .helpers import BASE, told
from .saves import attempts, saved, visitors

END = 60 * 60_000
TABLES = [
    test_hesitation.TABLE,
    test_hesitation.GAPS,
    test_navigation_loop.TABLE,
    test_navigation_loop.WINDOW,
    test_navigation_loop.LABELS,
    test_navigation_loop.CEASED,
    test_abandonment.LEAVING,
    test_abandonment.OPENING,
    test_abandonment.LEAVE,
    test_abandonment.SILENCE,
    test_recovery.RATE,
]
ROWS = [
    pytest.param(row[1], id=f"{number}: {row[0]}")
    for number, table in enumerate(TABLES)
    for row in table
]


@pytest.mark.parametrize("stream", ROWS)
def test_a_restart_after_every_event_changes_nothing(stream):
    engine, restarted = Engine(), Engine()
    for event, now in stream:
        restarted = saved(restarted)
        assert told(restarted.observe(event, now)) == told(engine.observe(event, now))
        assert visitors(restarted) == visitors(engine)
        assert attempts(restarted) == attempts(engine)
    restarted = saved(restarted)
    assert restarted.next_deadline() == engine.next_deadline()
    assert restarted.advance(BASE + END) == engine.advance(BASE + END)
    assert restarted.stats(1) == engine.stats(1)
    assert restarted.gauges() == engine.gauges()
