"""The window and the navigation-loop rule again: slow, plain, and from scratch at every event.

Written from the definition alone; it shares no code with the engine. It keeps everything a visitor
has ever sent, and works out anew what the window holds and how each visit in it was labelled.
"""

from dataclasses import dataclass, field

from detection.engine.config import EngineConfig
from detection.engine.events import Event

PASSIVE = {"idle", "leave", "tab_hidden"}
SEVERITIES = ["low", "medium", "high"]


@dataclass
class Known:
    """All of one visitor since they were last new."""

    events: list[tuple[int, Event]] = field(default_factory=list)
    emitted: dict[str, tuple[int, int]] = field(default_factory=dict)  # place: (at, severity)
    open_place: str | None = None


class Reference:
    """Feed it the stream; it answers with `(at, kind, severity, place)` of every loop."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.visitors: dict[tuple[int, str], Known] = {}

    def observe(self, event: Event, now: int) -> list[tuple[int, str, str, str]]:
        key = (event.site, event.user_id)
        known = self.visitors.setdefault(key, Known())
        if known.events and known.events[-1][0] <= now - self.config.window_ms:
            known = self.visitors[key] = Known()
        before = list(known.events)
        known.events.append((now, event))
        if event.action != "navigate" or event.page == current_page(before):
            return []
        last = len(before)
        if loop_severity(self._labelled(known, now, last, with_last=False)) is None:
            known.open_place = None
        labelled = self._labelled(known, now, last, with_last=True)
        severity = loop_severity(labelled)
        return [] if severity is None else self._tell(known, labelled, severity, now)

    def window(self, site: int, user_id: str, now: int) -> list[Event]:
        """What the visitor's window holds now."""
        known = self.visitors.get((site, user_id), Known())
        indices = self._held(known, now, len(known.events) - 1)
        return [known.events[index][1] for index in indices]

    def _held(self, known: Known, now: int, last: int) -> list[int]:
        """Indices of the events that the window holds when event `last` is its newest."""
        recent = range(max(0, last + 1 - self.config.max_events), last + 1)
        return [i for i in recent if known.events[i][0] > now - self.config.window_ms]

    def _labelled(
        self, known: Known, now: int, last: int, *, with_last: bool
    ) -> list[tuple[int, str, int | None]]:
        """Visits held when event `last` is the newest: (index, page, index of the previous visit
        to the page if it is a fruitless return).
        """
        held = self._held(known, now, last)
        labels = self._labels(known)
        return [labels[i] for i in held if i in labels and (with_last or i != last)]

    def _labels(self, known: Known) -> dict[int, tuple[int, str, int | None]]:
        """Every visit ever, labelled in the light of the window at its own time."""
        labels: dict[int, tuple[int, str, int | None]] = {}
        new: set[int] = set()
        for index, (arrival, event) in enumerate(known.events):
            page = event.page
            if event.action != "navigate" or page == current_page(known.events[:index]):
                continue
            held = [i for i in self._held(known, arrival, index) if i in labels]
            same = [i for i in held if labels[i][1] == page]
            since = None
            if not same:
                new.add(index)
            elif not any(i in new for i in range(same[-1] + 1, index)):
                since = same[-1]
            labels[index] = (index, page, since)
        return labels

    def _tell(
        self,
        known: Known,
        labelled: list[tuple[int, str, int | None]],
        severity: int,
        now: int,
    ) -> list[tuple[int, str, str, str]]:
        place = known.open_place or loop_place(labelled)
        at, emitted = known.emitted.get(place, (now - self.config.cooldown_ms, -1))
        if known.open_place is None and now - at >= self.config.cooldown_ms:
            kind = "opened"
        elif severity > emitted:
            kind = "escalated"
        else:
            known.open_place = place
            return []
        known.open_place = place
        known.emitted[place] = (now, severity)
        return [(now, kind, SEVERITIES[severity], place)]


def current_page(events: list[tuple[int, Event]]) -> str:
    """The page of the latest event other than the passive ones, or ""."""
    pages = [event.page for _, event in events if event.action not in PASSIVE]
    return pages[-1] if pages else ""


def loop_severity(labelled: list[tuple[int, str, int | None]]) -> int | None:
    """0, 1, 2 for low, medium, high; None without a loop."""
    pages = [page for _, page, _ in labelled]
    fruitless = sum(since is not None for _, _, since in labelled)
    if fruitless < 2 or not any(pages.count(page) >= 3 for page in pages):
        return None
    return min(fruitless // 2 - 1, 2)


def loop_place(labelled: list[tuple[int, str, int | None]]) -> str:
    """The sorted pages of the fruitless returns and of the visits since the one before each."""
    pages: set[str] = set()
    for index, _, since in labelled:
        if since is not None:
            pages |= {page for i, page, _ in labelled if since <= i <= index}
            pages.add(next(page for i, page, _ in labelled if i == index))
    return " ".join(sorted(pages))
