"""Things that happen because time has passed and nothing was heard.

A heap of wake-ups. An owner's real deadline may move away while a wake-up waits (something was
heard after all): the wake-up then comes too early, the owner looks, and arms again. It never comes
too late: an owner whose deadline moves nearer arms at once. What is armed for one owner and visitor
forms a stack, nearest on top, which keeps the heap to a few entries a visitor.
"""

import heapq
from collections.abc import Callable, Sequence
from typing import Final

from .patterns import Change

NEVER: Final = 2**63 - 1

Wake = Callable[[int, int, str], Sequence[Change]]


class Deadlines:
    """Wake-ups in the order (due, site, visitor, owner).

    nearest: the time (ms) of the next wake-up, NEVER without one. No deadline lies before it; one
        need not lie at it.
    """

    def __init__(self) -> None:
        self.nearest = NEVER
        self._heap: list[tuple[int, int, str, int]] = []
        self._owners: list[Wake] = []

    def register(self, wake: Wake) -> int:
        """Give an owner its number; `wake(due, site, user_id)` is called for what it arms."""
        self._owners.append(wake)
        return len(self._owners) - 1

    def arm(self, wakes: list[int], due: int, site: int, user_id: str, owner: int) -> None:
        """Wake the owner at due, unless one of its wake-ups comes no later. `wakes` is the stack
        of this owner and visitor; the owner pops it when woken.
        """
        if not wakes or due < wakes[-1]:
            wakes.append(due)
            heapq.heappush(self._heap, (due, site, user_id, owner))
            self.nearest = self._heap[0][0]

    def fire(self, now: int) -> list[Change]:
        """Wake everything due at or before now, in order; each at its own due time."""
        changes: list[Change] = []
        while self.nearest <= now:
            due, site, user_id, owner = heapq.heappop(self._heap)
            self.nearest = self._heap[0][0] if self._heap else NEVER
            changes += self._owners[owner](due, site, user_id)
        return changes

    def __len__(self) -> int:
        return len(self._heap)
