"""Settings refuse nonsense when they are built, with one clear line."""

import pytest

from detection.engine.config import EngineConfig, decode_config, encode_config
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
    (EngineConfig, {"max_visitors": 0}, "max_visitors"),
    (EngineConfig, {"max_bytes": 999_999}, "max_bytes must be at least 1000000"),
    (EngineConfig, {"max_bytes": 1e9}, "max_bytes"),
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
    (AbandonmentSettings, {"funnels": (Funnel(site=4), Funnel(site=4))}, "same name"),
    (Funnel, {"site": -1}, "number from 0"),
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


OTHER = EngineConfig(
    window_ms=1_000,
    max_events=7,
    cooldown_ms=900,
    max_standing=3,
    max_bytes=2_000_000,
    max_visitors=5,
    hesitation=HesitationSettings(1, 2, 3, 4, 5),
    loop=LoopSettings(2, 3, 4, 5),
    abandonment=AbandonmentSettings(
        (
            Funnel("signup", ("/a", "/b", "/c"), ("purchase",), (), 1, 2, 3, 4),
            Funnel(completion_actions=()),
        )
    ),
)


@pytest.mark.parametrize("config", [EngineConfig(), OTHER])
def test_a_configuration_comes_back_from_json(config):
    assert decode_config(encode_config(config)) == config


def test_every_number_is_in_the_json():
    assert encode_config(EngineConfig()) != encode_config(EngineConfig(max_events=201))
    assert b'"recovery_ms":1800000' in encode_config(EngineConfig())


def test_what_is_missing_has_its_default():
    data = b'{"max_events":9,"abandonment":{"funnels":[{"name":"n"}]}}'
    funnels = AbandonmentSettings((Funnel("n"),))
    assert decode_config(data) == EngineConfig(max_events=9, abandonment=funnels)


NO_CONFIG = [
    (b"", "no configuration"),
    (b"{", "no configuration"),
    (b"\xff", "no configuration"),
    (b"[]", "no configuration"),
    (b"null", "no configuration"),
    (b"[" * 100_000, "no configuration"),
    (b'{"max_events":"9"}', "no configuration"),
    (b'{"max_events":true}', "no configuration"),
    (b'{"max_events":0}', "max_events"),
    (b'{"hesitation":{"low_ms":50000}}', "must rise"),
    (b'{"max_users":9}', "max_users is unknown"),
    (b'{"loop":{"max_visits":9}}', "max_visits is unknown"),
    (b'{"abandonment":{"funnels":[{"owner":"me"}]}}', "owner is unknown"),
    (b'{"abandonment":{"funnels":[{"steps":["/a"]}]}}', "at least two steps"),
]


@pytest.mark.parametrize(("data", "message"), NO_CONFIG, ids=lambda value: str(value)[:40])
def test_what_is_no_configuration_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        decode_config(data)
