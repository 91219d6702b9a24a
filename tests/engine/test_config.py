"""Settings refuse nonsense when they are built, with one clear line."""

import pytest

from detection.engine.config import EngineConfig
from detection.engine.rules.abandonment import AbandonmentSettings
from detection.engine.rules.funnel import Funnel
from detection.engine.rules.hesitation import HesitationSettings
from detection.engine.rules.navigation_loop import LoopSettings

NONSENSE = [
    (EngineConfig, {"window_ms": 0}, "window_ms"),
    (EngineConfig, {"window_ms": 1.5}, "window_ms"),
    (EngineConfig, {"max_events": 0}, "max_events"),
    (EngineConfig, {"max_events": True}, "max_events"),
    (EngineConfig, {"cooldown_ms": -1}, "cooldown_ms"),
    (EngineConfig, {"max_standing": 0}, "max_standing"),
    (EngineConfig, {"cooldown_ms": 300_001}, "must not exceed window_ms"),
    (HesitationSettings, {"low_ms": 20_000}, "must rise"),
    (HesitationSettings, {"low_ms": 0}, "low_ms"),
    (HesitationSettings, {"high_ms": 3_600_001}, "must not exceed max_duration_ms"),
    (HesitationSettings, {"spell_tolerance_ms": 0}, "spell_tolerance_ms"),
    (LoopSettings, {"medium_returns": 2}, "must rise"),
    (LoopSettings, {"low_returns": 0}, "low_returns"),
    (LoopSettings, {"min_visits": 1}, "min_visits"),
    (Funnel, {"name": " "}, "name"),
    (Funnel, {"name": "a:b"}, "name"),
    (Funnel, {"name": "a" * 65}, "name"),
    (Funnel, {"steps": ("/cart",)}, "at least two steps"),
    (Funnel, {"steps": ["/cart", "/pay"]}, "must be a tuple"),
    (Funnel, {"steps": ("/cart", "")}, "empty"),
    (Funnel, {"steps": ("/cart", "/cart")}, "named twice"),
    (Funnel, {"completion_pages": ("/cart",)}, "named twice"),
    (Funnel, {"completion_actions": ("navigate",)}, "navigate cannot complete it"),
    (Funnel, {"completion_actions": ("dance",)}, "dance cannot complete it"),
    (Funnel, {"completion_actions": (), "completion_pages": ()}, "nothing completes it"),
    (Funnel, {"leave_grace_ms": 0}, "leave_grace_ms"),
    (Funnel, {"leave_grace_ms": 1_800_000}, "less than attempt_timeout_ms"),
    (Funnel, {"hidden_silence_ms": 1_800_000}, "less than attempt_timeout_ms"),
    (Funnel, {"recovery_ms": 0}, "recovery_ms"),
    (AbandonmentSettings, {"funnels": (Funnel(), Funnel())}, "same name"),
]


@pytest.mark.parametrize(("kind", "fields", "message"), NONSENSE)
def test_nonsense_is_refused(kind, fields, message):
    with pytest.raises(ValueError, match=message):
        kind(**fields)


def test_the_defaults_are_the_definitions():
    config = EngineConfig()
    assert (config.window_ms, config.max_events, config.cooldown_ms) == (300_000, 200, 120_000)
    assert config.abandonment.funnels[0].steps == ("/cart", "/checkout", "/payment")


@pytest.mark.parametrize("kind", [EngineConfig, HesitationSettings, LoopSettings, Funnel])
def test_settings_are_frozen(kind):
    settings = kind()
    field = next(iter(kind.__dataclass_fields__))
    with pytest.raises(AttributeError):
        setattr(settings, field, 1)
