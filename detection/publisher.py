"""The publisher: one thread that stores what the engine said and sends what was stored.

It sends by following the table, not by passing on what it just wrote. So a step written
elsewhere (a person resolves in a request, a command in another process) goes the same way,
and every stream hears the steps in the order of their sequence.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from django.conf import settings
from django.db import DatabaseError, OperationalError, connection, reset_queries

from detection import store, streams
from detection.engine.patterns import ChangeKind, Severity
from detection.models import PatternChange, Site
from detection.outbox import News, Outbox
from detection.sites import SiteDirectory
from detection.trouble import TROUBLE, DatabaseTrouble

logger = logging.getLogger(__name__)

TURN_S = 1.0
BACKOFF_S = (0.1, 0.5, 1.0, 2.0, 5.0)
# Changes stored in one commit, and sent in one go: so that a burst of them makes room as it goes.
MOST_AT_ONCE = 500

Tick = Callable[[int], None]
_ticks: list[Tick] = []


def every_turn(tick: Tick) -> None:
    """Call `tick(site)` for each site about once a second, in the publisher's thread."""
    _ticks.append(tick)


class Publisher:
    """Owns the thread. `start` returns at once; `ready` is set when ingest knows the sites.

    opened, escalated: patterns that took this step since the start, by (type, severity).
    """

    def __init__(self, outbox: Outbox, sites: SiteDirectory, trouble: DatabaseTrouble) -> None:
        self._outbox = outbox
        self._sites = sites
        self._trouble = trouble
        self.opened: Counter[tuple[str, str]] = Counter()
        self.escalated: Counter[tuple[str, str]] = Counter()
        self._sent: dict[int, int] = {}
        self._stopping = threading.Event()
        self._failures = 0
        self._next_tick = 0.0
        self.ready = threading.Event()  # the sites have been read
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self, timeout: float = 30.0) -> None:
        """Store and send what still waits, then end the thread."""
        self._stopping.set()
        self._outbox.nudge()
        if self._thread.is_alive():
            self._thread.join(timeout)
        if lost := len(self._outbox):
            logger.error("%d changes could not be stored before the end.", lost)

    def _run(self) -> None:
        while True:
            stopping = self._stopping.is_set()
            at_once = stopping or not self.ready.is_set()  # the server's start waits for the first
            changes = self._outbox.wait(0 if at_once else TURN_S)
            try:
                self._turn(changes)
            except TROUBLE as error:
                self._back_off(error)
                if stopping and not len(self._outbox):
                    return
                continue
            except Exception:
                logger.exception("The publisher met an error; it goes on.")
                self._stopping.wait(TURN_S)  # one that stays does not fill the log
            finally:
                if settings.DEBUG:
                    reset_queries()  # nobody ends a request here, so nobody else would
            self._failures = 0
            self._trouble.over("publisher")
            if stopping and not len(self._outbox):
                connection.close()
                return

    def _turn(self, changes: list[News]) -> None:
        if not self.ready.is_set():
            self._follow()  # where the present is, before the first change is written
            self.ready.set()
        for begin in range(0, len(changes), MOST_AT_ONCE):
            part = changes[begin : begin + MOST_AT_ONCE]
            self._store(part)
            self._outbox.forget(len(part))
        self._follow()
        self._tick()

    def _store(self, changes: Sequence[News]) -> None:
        """Store all of them; one that can never be stored is given up, and holds up no other."""
        try:
            store.apply(changes)
        except TROUBLE:
            raise
        except Exception as error:
            if type(error) is DatabaseError:
                # None of its kinds: what a damaged file says, and no fault of the change.
                raise OperationalError(str(error)) from error
            if len(changes) == 1:
                logger.exception("This change cannot be stored and is lost: %r", changes[0])
                return
            middle = len(changes) // 2
            self._store(changes[:middle])
            self._store(changes[middle:])

    def _back_off(self, error: Exception) -> None:
        """Keep what could not be stored, and try again after a while."""
        self._trouble.met("publisher", error)
        connection.close()
        pause = BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        self._failures += 1
        if not self._stopping.wait(pause):
            return
        time.sleep(BACKOFF_S[0])  # while it ends it tries on, and not as fast as it can

    def _follow(self) -> None:
        """Send every change that is in the table and has not been sent."""
        sites = list(Site.objects.all())
        self._sites.refresh(sites)
        for site in sites:
            # A site that comes while this runs has been told to nobody yet.
            sent = self._sent.setdefault(site.pk, 0 if self.ready.is_set() else site.last_change)
            while sent < site.last_change:
                new = PatternChange.objects.filter(site=site, sequence__gt=sent)
                changes = list(new.select_related("pattern").order_by("sequence")[:MOST_AT_ONCE])
                if not changes:
                    sent = site.last_change
                else:
                    streams.send_changes(site.pk, changes)
                    self._count(changes)
                    sent = changes[-1].sequence
                self._sent[site.pk] = sent

    def _count(self, changes: Sequence[PatternChange]) -> None:
        counters = {
            ChangeKind.OPENED.value: self.opened,
            ChangeKind.ESCALATED.value: self.escalated,
        }
        for change in changes:
            if change.kind in counters:
                key = (change.pattern.type, Severity(change.severity).label)
                counters[change.kind][key] += 1

    def _tick(self) -> None:
        if time.monotonic() < self._next_tick:
            return
        self._next_tick = time.monotonic() + TURN_S
        for site in list(self._sent):
            for tick in _ticks:
                try:
                    tick(site)
                except TROUBLE:
                    raise
                except Exception:
                    logger.exception("A tick of site %d failed; the others go on.", site)
