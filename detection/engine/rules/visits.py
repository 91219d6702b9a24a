"""A visitor's page visits in their window, each labelled when it happened.

The counts (visits per page, pages with many visits, fruitless returns) are kept as visits come and
go; only `loop` looks at all of them, and is asked only when there is something to tell.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from ..sizes import PAGE_VISITS, VISIT, VISITS, text_bytes
from ..standing import Standing

RECLAIM: Final = 32
NOT_FRUITLESS: Final = -1


class Visit(msgspec.Struct, frozen=True, gc=False):
    """number: of its event in the window. since: number of the previous visit to the page if this
    is a fruitless return, else NOT_FRUITLESS.
    """

    number: int
    page: str
    since: int


GONE: Final = Visit(NOT_FRUITLESS, "", NOT_FRUITLESS)  # where a visit was, so nothing holds it


class PageVisits(msgspec.Struct, gc=False):
    """How often a page was visited within the window, and the number of the last visit."""

    count: int
    last: int


class Visits:
    """The visits that the window still holds.

    fruitless: how many of them are fruitless returns.
    busy: how many pages have at least `busy_from` visits.
    pages: the pages visited.
    open_loop: the pattern of the loop that is going on, if one is.
    last_new: number of the last visit to a page new to the window.
    bytes: what they hold, as `sizes` estimates it.
    """

    __slots__ = (
        "_busy_from",
        "_head",
        "_visits",
        "busy",
        "bytes",
        "fruitless",
        "last_new",
        "open_loop",
        "pages",
    )

    def __init__(self, busy_from: int) -> None:
        self._busy_from = busy_from
        self._visits: list[Visit] = []
        self._head = 0
        self.last_new = NOT_FRUITLESS
        self.pages: dict[str, PageVisits] = {}
        self.fruitless = 0
        self.busy = 0
        self.open_loop: Standing | None = None
        self.bytes = VISITS

    @property
    def held(self) -> list[Visit]:
        """The visits, oldest first."""
        return self._visits[self._head :]

    def resume(self, visits: Iterable[Visit], last_new: int) -> None:
        """Take over visits as they were labelled once."""
        for visit in visits:
            self._add(visit)
        self.last_new = last_new

    def count_busy(self, busy_from: int) -> None:
        """From now on a page is busy from so many visits."""
        self._busy_from = busy_from
        self.busy = sum(1 for known in self.pages.values() if known.count >= busy_from)

    def forget_before(self, first: int) -> None:
        """Let go of the visits whose events have left the window."""
        visits = self._visits
        head = self._head
        while head < len(visits) and visits[head].number < first:
            self._forget(visits[head])
            visits[head] = GONE
            head += 1
        if head >= RECLAIM:
            del visits[:head]
            head = 0
        self._head = head

    def add(self, number: int, page: str) -> None:
        """A visit now: to a page new to the window, or a return, fruitless if nothing was new
        since the previous visit to that page.
        """
        known = self.pages.get(page)
        since = NOT_FRUITLESS
        if known is None:
            self.last_new = number
        elif self.last_new <= known.last:
            since = known.last
        self._add(Visit(number, page, since))

    def loop(self) -> list[Visit]:
        """The visits to the pages of the loop, oldest first. Its pages are those of the fruitless
        returns and of all visits between each and its previous visit, as far as they are held.
        """
        pages: set[str] = set()
        reach: int | None = None
        held = self.held
        for visit in reversed(held):
            if visit.since != NOT_FRUITLESS:
                reach = visit.since if reach is None else min(reach, visit.since)
            if reach is not None and visit.number >= reach:
                pages.add(visit.page)
        return [visit for visit in held if visit.page in pages]

    def _add(self, visit: Visit) -> None:
        page = visit.page
        known = self.pages.get(page)
        if known is None:
            known = self.pages[page] = PageVisits(count=0, last=visit.number)
            self.bytes += PAGE_VISITS + text_bytes(page)
        known.count += 1
        known.last = visit.number
        if known.count == self._busy_from:
            self.busy += 1
        if visit.since != NOT_FRUITLESS:
            self.fruitless += 1
        self._visits.append(visit)
        self.bytes += VISIT

    def _forget(self, visit: Visit) -> None:
        known = self.pages[visit.page]
        if known.count == self._busy_from:
            self.busy -= 1
        known.count -= 1
        if known.count == 0:
            del self.pages[visit.page]
            self.bytes -= PAGE_VISITS + text_bytes(visit.page)
        self.bytes -= VISIT
        if visit.since != NOT_FRUITLESS:
            self.fruitless -= 1
