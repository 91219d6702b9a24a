"""Every number of the engine, in one frozen value, and that value as JSON."""

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from .rules.abandonment import AbandonmentSettings
from .rules.hesitation import HesitationSettings
from .rules.navigation_loop import LoopSettings
from .validation import require, require_positive

LEAST_BYTES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What the engine holds and for how long, and the settings of each rule.

    window_ms: a visitor's window is `(now - window_ms, now]` in arrival time; a visitor who has
        sent nothing for that long is forgotten, and is new when they come back.
    max_events: the most events a window holds; the oldest leave first.
    cooldown_ms: after a pattern was emitted or escalated, nothing equal or lower is emitted for the
        same visitor, type and place while less than this has passed. At most window_ms, since a
        forgotten visitor has no cooldown.
    max_standing: the most patterns a visitor can have in their cooldown at a time; what is over
        it is silent, so that a flood of made-up pages does not become a flood of patterns.
    max_bytes: what visitors may hold together, by the estimates of `sizes`; beyond it the longest
        silent are forgotten before their window has passed. Attempts, which outlive windows, may
        hold a quarter of it on top; beyond that those longest unheard are forgotten.
    max_visitors: how many visitors there may be, and how many attempts, in the same way. Neither
        bound forgets the visitor just heard.

    Raises ValueError for numbers that make no sense together.
    """

    window_ms: int = 300_000
    max_events: int = 200
    cooldown_ms: int = 120_000
    max_standing: int = 32
    max_bytes: int = 1_024_000_000
    max_visitors: int = 200_000
    hesitation: HesitationSettings = field(default_factory=HesitationSettings)
    loop: LoopSettings = field(default_factory=LoopSettings)
    abandonment: AbandonmentSettings = field(default_factory=AbandonmentSettings)

    def __post_init__(self) -> None:
        require_positive(self, "window_ms", "max_events", "cooldown_ms", "max_standing")
        require_positive(self, "max_bytes", "max_visitors")
        require(
            self.max_bytes >= LEAST_BYTES,
            f"max_bytes must be at least {LEAST_BYTES}, not {self.max_bytes}",
        )
        require(
            self.cooldown_ms <= self.window_ms,
            f"cooldown_ms ({self.cooldown_ms}) must not exceed window_ms ({self.window_ms})",
        )

    @property
    def attempt_bytes(self) -> int:
        """What attempts may hold together."""
        return self.max_bytes // 4


def encode_config(config: EngineConfig) -> bytes:
    """As JSON, with every number."""
    return msgspec.json.encode(config)


def decode_config(data: bytes) -> EngineConfig:
    """From JSON; what is missing has its default. Raises ValueError for anything that is no
    configuration, or holds a field that this version does not know.
    """
    try:
        told = msgspec.json.decode(data)
        config = msgspec.convert(told, EngineConfig)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ValueError(f"no configuration: {error}") from None
    _require_known(told, msgspec.to_builtins(config))
    return config


def _require_known(told: Any, known: Any) -> None:
    """Nothing is told that is not known, at any depth."""
    if isinstance(told, dict):
        strangers = sorted(set(told) - set(known))
        require(not strangers, f"no configuration: {', '.join(strangers)} is unknown")
        for name, value in told.items():
            _require_known(value, known[name])
    elif isinstance(told, list):
        for one, another in zip(told, known, strict=True):
            _require_known(one, another)
