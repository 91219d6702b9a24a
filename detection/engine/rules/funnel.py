"""A funnel: ordered steps and what completes them."""

from dataclasses import dataclass
from typing import Final

from ..validation import require, require_positive

MAX_NAME: Final = 64
COMPLETING: Final = frozenset({"confirm", "purchase"})


@dataclass(frozen=True, slots=True)
class Funnel:
    """What a site wants visitors to go through. Pages match exactly.

    name: unique on its site, without a colon.
    steps: at least two pages, in order.
    completion_actions: actions that complete it, wherever they happen.
    completion_pages: pages that complete it when navigated to; none of them a step.
    leave_grace_ms: after a `leave`, how long nothing more may be heard until it counts.
    hidden_silence_ms: how long a hidden visitor may be silent until it counts.
    attempt_timeout_ms: an attempt closes after so long without events.
    recovery_ms: a completion recovers abandonments less than this old.
    site: whose it is; 0 for every site that has no funnel of its own.

    Raises ValueError for nonsense.
    """

    name: str = "checkout"
    steps: tuple[str, ...] = ("/cart", "/checkout", "/payment")
    completion_actions: tuple[str, ...] = ("confirm", "purchase")
    completion_pages: tuple[str, ...] = ("/confirm",)
    leave_grace_ms: int = 30_000
    hidden_silence_ms: int = 600_000
    attempt_timeout_ms: int = 1_800_000
    recovery_ms: int = 1_800_000
    site: int = 0

    def __post_init__(self) -> None:
        named = bool(self.name.strip()) and len(self.name) <= MAX_NAME and ":" not in self.name
        require(named, f"a funnel's name has 1-{MAX_NAME} characters, no colon, not {self.name!r}")
        require(self.site >= 0, f"a funnel's site is a number from 0, not {self.site}")
        self._check_pages()
        self._check_times()

    def keep_ms(self, cooldown_ms: int) -> int:
        """How long what is over is remembered, ms."""
        return max(self.recovery_ms, self.attempt_timeout_ms, cooldown_ms)

    def _check_pages(self) -> None:
        label = f"funnel {self.name}:"
        for field in ("steps", "completion_actions", "completion_pages"):
            value = getattr(self, field)
            require(isinstance(value, tuple), f"{label} {field} must be a tuple, not {value!r}")
        require(len(self.steps) >= 2, f"{label} needs at least two steps")
        pages = (*self.steps, *self.completion_pages)
        require(all(pages), f"{label} a page is empty")
        require(len(set(pages)) == len(pages), f"{label} a page is named twice")
        wrong = sorted(set(self.completion_actions) - COMPLETING)
        require(not wrong, f"{label} {', '.join(wrong)} cannot complete it")
        require(
            bool(self.completion_actions or self.completion_pages), f"{label} nothing completes it"
        )

    def _check_times(self) -> None:
        require_positive(
            self, "leave_grace_ms", "hidden_silence_ms", "attempt_timeout_ms", "recovery_ms"
        )
        for field in ("leave_grace_ms", "hidden_silence_ms"):
            require(
                getattr(self, field) < self.attempt_timeout_ms,
                f"funnel {self.name}: {field} must be less than attempt_timeout_ms",
            )
