"""Doing something no more often than it is worth."""

import threading
import time
from collections.abc import Callable


class Seldom:
    """Says yes at most once in `every_s` seconds, whichever thread asks.

    clock: seconds that never go back.
    """

    def __init__(self, every_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._clock = clock
        self._lock = threading.Lock()
        self._next = float("-inf")

    def now(self) -> bool:
        """Whether to do it now; from here on the time runs anew."""
        with self._lock:
            now = self._clock()
            if now < self._next:
                return False
            self._next = now + self._every_s
            return True
