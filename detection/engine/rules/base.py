"""What a rule is to the engine."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from ..events import Event
from ..patterns import Change
from ..snapshots import Tally
from ..visitor import Visitor

if TYPE_CHECKING:
    from ..config import EngineConfig
    from .journeys import Journeys

Observe = Callable[[Visitor, Event, int], Sequence[Change]]


class Rule:
    """One kind of friction. Its module's docstring is its definition.

    name: the `type` of its patterns.
    actions: the actions it listens to; empty for all.

    A rule holds no state of its own: what it remembers is in visitors and journeys. So another may
    take its place, with other settings, between any two events.
    """

    name: ClassVar[str]
    actions: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self, config: "EngineConfig", journeys: "Journeys", tallies: dict[int, Tally]
    ) -> None:
        raise NotImplementedError

    def observe(self, visitor: Visitor, event: Event, now: int) -> Sequence[Change]:
        """What the event, just added to the visitor's window and heard at now, changes."""
        raise NotImplementedError

    def known_as(self, site: int, user_id: str, now: int) -> str:
        """The known id of a visitor whom the rule remembers beyond their window, or ""."""
        return ""
