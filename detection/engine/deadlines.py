"""Things that happen because time has passed and nothing was heard.

A heap of wake-ups. An owner's real deadline may move away while a wake-up waits (something was
heard after all): the wake-up then comes too early, the owner looks, and arms again. It never comes
too late: an owner whose deadline moves nearer arms at once. What is armed for one owner and visitor
forms a stack, nearest on top, which keeps the heap to a few entries a visitor.

Who is evicted leaves their wake-ups behind. They never fire: one that is on top of the heap is
taken off, and once they are as many as the others the heap is made anew without them.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from .patterns import Change

NEVER: Final = 2**63 - 1
FEW: Final = 64  # wake-ups left behind that are no reason to make the heap anew

WakeUp = tuple[int, int, str, int]  # due, site, visitor, owner
Stack = Callable[[int, str, int], Sequence[int]]
Wake = Callable[[int, int, str], Sequence[Change]]


class Deadlines:
    """Wake-ups in the order (due, site, visitor, owner).

    nearest: the time (ms) of the next wake-up, NEVER without one. No deadline lies before it; one
        need not lie at it.
    """

    def __init__(self, stack: Stack) -> None:
        """stack(site, user_id, owner): what is armed for them, empty for one who is not known."""
        self.nearest = NEVER
        self._stack = stack
        self._heap: list[WakeUp] = []
        self._left_behind = 0  # how many in the heap belong to nobody any more
        self._owners: list[Wake] = []

    def register(self, wake: Wake) -> int:
        """Give an owner its number; `wake(due, site, user_id)` is called for what it arms."""
        self._owners.append(wake)
        return len(self._owners) - 1

    def dismiss_owners(self) -> None:
        """Others will register in their place."""
        self._owners.clear()

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
            changes += self._owners[owner](due, site, user_id)
            self._look()
        return changes

    def leave_behind(self, number: int) -> None:
        """So many wake-ups belong to somebody who is no longer known."""
        self._left_behind += number
        if self._left_behind > FEW and self._left_behind > len(self):
            self.rebuild({wake_up for wake_up in self._heap if self._lives(wake_up)})
        else:
            self._look()

    def rebuild(self, wake_ups: Iterable[WakeUp]) -> None:
        """Hold exactly these."""
        self._heap = list(wake_ups)
        heapq.heapify(self._heap)
        self._left_behind = 0
        self.nearest = self._heap[0][0] if self._heap else NEVER

    def __len__(self) -> int:
        return len(self._heap) - self._left_behind

    def _look(self) -> None:
        """Take off the top what belongs to nobody, and see what comes next."""
        heap = self._heap
        while heap and self._left_behind and not self._lives(heap[0]):
            heapq.heappop(heap)
            self._left_behind -= 1
        self.nearest = heap[0][0] if heap else NEVER

    def _lives(self, wake_up: WakeUp) -> bool:
        due, site, user_id, owner = wake_up
        return due in self._stack(site, user_id, owner)
