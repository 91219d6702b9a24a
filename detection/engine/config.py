"""Every number of the engine, in one frozen value."""

from dataclasses import dataclass, field

from .rules.abandonment import AbandonmentSettings
from .rules.hesitation import HesitationSettings
from .rules.navigation_loop import LoopSettings
from .validation import require, require_positive


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

    Raises ValueError for numbers that make no sense together.
    """

    window_ms: int = 300_000
    max_events: int = 200
    cooldown_ms: int = 120_000
    max_standing: int = 32
    hesitation: HesitationSettings = field(default_factory=HesitationSettings)
    loop: LoopSettings = field(default_factory=LoopSettings)
    abandonment: AbandonmentSettings = field(default_factory=AbandonmentSettings)

    def __post_init__(self) -> None:
        require_positive(self, "window_ms", "max_events", "cooldown_ms", "max_standing")
        require(
            self.cooldown_ms <= self.window_ms,
            f"cooldown_ms ({self.cooldown_ms}) must not exceed window_ms ({self.window_ms})",
        )
