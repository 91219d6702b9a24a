"""The event loop's turns kept short: a few ready sockets at a time.

asyncio reads every socket that is ready before it goes on with anything else. With hundreds of
senders at work such a turn takes a tenth of a second, and a page, which needs a dozen turns, more
than one. Handed out a few at a time, and each found ready once before any a second time, sockets
wait no longer than before, and what goes on between threads and loop hardly waits for them.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from selectors import BaseSelector, SelectorKey
from typing import Final

# Sockets handled in one turn of the loop.
AT_ONCE: Final = 8

Ready = list[tuple[SelectorKey, int]]


class FewAtOnce:
    """A selector's `select` that hands out what it finds in portions.

    late: how long those handed out last had been found ready by then, seconds.
    """

    def __init__(
        self,
        selector: BaseSelector,
        at_once: int = AT_ONCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = selector.get_map()
        self._select = selector.select
        self._at_once = at_once
        self._clock = clock
        self._waiting: deque[tuple[SelectorKey, int]] = deque()
        self._found_at = 0.0
        self.late = 0.0

    def __call__(self, timeout: float | None = None) -> Ready:
        if not self._waiting:
            ready = self._select(timeout)
            if len(ready) <= self._at_once:
                self.late = 0.0
                return ready
            self._found_at = self._clock()
            self._waiting.extend(ready)
        portion: Ready = []
        while self._waiting and len(portion) < self._at_once:
            found, events = self._waiting.popleft()
            # What was closed meanwhile is gone, and what nobody listens to any more is left alone.
            key = self._keys.get(found.fd)
            if key is not None and events & key.events:
                portion.append((key, events & key.events))
        self.late = self._clock() - self._found_at
        return portion


def share(loop: asyncio.AbstractEventLoop) -> FewAtOnce | None:
    """Keep this loop's turns short from now on; None where it is of a kind that has no selector."""
    selector = getattr(loop, "_selector", None)
    if not isinstance(selector, BaseSelector):
        return None
    if not isinstance(selector.select, FewAtOnce):
        selector.select = FewAtOnce(selector)  # type: ignore[method-assign]
    return selector.select
