"""What the engine knows of one visitor while their window lasts.

- **Current page**: the page of the visitor's latest event other than `idle`, `leave` and
  `tab_hidden`, which may speak of a page that has just been left.
- **Current view**: the view of the last `navigate`, or of the last event with a view never seen
  before. A view is *earlier* when it is not empty, this visitor has shown it before (the last 8
  are kept), and it is not the current one.
- **Visibility**: a visitor starts visible; `navigate` and `tab_visible` make visible, `tab_hidden`
  hides. A `tab_hidden` or `leave` of an earlier view is not *heard*: a page that is left says so
  after the next one has begun. It is held in the window, and changes nothing else.
"""

from typing import TYPE_CHECKING, Final

from .events import Event
from .sizes import VISITOR, text_bytes
from .standing import Standing
from .window import Window

if TYPE_CHECKING:
    from .rules.visits import Visits

VIEWS_KEPT: Final = 8
MAX_KNOWN_ID: Final = 128
PASSIVE: Final = frozenset({"idle", "leave", "tab_hidden"})
NO_TIME: Final = -1


class Visitor:
    """One visitor of one site. Rules see it with the event in the window and in the visibility,
    while `page` and `last` are still those of before the event (see `settle`).

    identified: the id that `lens.identify` gave, or "".
    page: the current page, "" while unknown.
    last: timestamp of the visitor's last event, NO_TIME before the first.
    hidden: whether their tab is hidden.
    standings: the patterns that may still be in their cooldown, by (type, place); made when first
        needed.
    visits: the navigation-loop rule's own state; made when first needed.
    counted: the bytes that are counted for what they hold beside the window; grown: whether they
        may hold more by now, or less.
    """

    __slots__ = (
        "_texts",
        "_told",
        "counted",
        "grown",
        "hidden",
        "identified",
        "last",
        "page",
        "site",
        "standings",
        "user_id",
        "view",
        "views",
        "visits",
        "window",
    )

    def __init__(self, site: int, user_id: str, identified: str = "") -> None:
        self.site = site
        self.user_id = user_id
        self.identified = identified
        self.window = Window()
        self.page = ""
        self.last = NO_TIME
        self.hidden = False
        self.view = ""
        self.views: tuple[str, ...] = ()
        self.standings: dict[tuple[str, str], Standing] | None = None
        self.visits: Visits | None = None
        self.counted = 0
        self.grown = True
        self._texts = 0
        self._told = 0
        self.weigh()

    @property
    def current_page(self) -> str:
        """The current page, or the page of the last event while there is none."""
        return self.page or self.window.event(self.window.last).page

    def earlier(self, event: Event) -> bool:
        """Whether a heard event is of an earlier view than the current one."""
        return bool(event.view) and event.view != self.view

    def hear(self, event: Event) -> bool:
        """Take in view, visibility and identity. False if the event is of an earlier view and
        says that it was hidden or left: such an event is not heard.
        """
        action = event.action
        view = event.view
        if view != self.view:
            if action == "navigate" or (view and view not in self.views):
                self._show(view)
            elif view and action in {"tab_hidden", "leave"}:
                return False
        if action in {"navigate", "tab_visible"}:
            self.hidden = False
        elif action == "tab_hidden":
            self.hidden = True
        elif action == "identify":
            self._identify(event)
        return True

    def standing(self, type_: str, place: str) -> Standing | None:
        """The last pattern of that key, if it is remembered."""
        return self.standings.get((type_, place)) if self.standings else None

    def stand(self, type_: str, standing: Standing) -> None:
        """Remember an emitted pattern as the last of its key."""
        if self.standings is None:
            self.standings = {}
        self.standings[type_, standing.place] = standing
        self.weigh_told()

    def may_open(self, now: int, cooldown_ms: int, limit: int) -> bool:
        """Whether fewer patterns than the limit are in their cooldown; at the limit, those past
        it are forgotten.
        """
        if self.standings is None or len(self.standings) < limit:
            return True
        self.standings = {
            key: standing
            for key, standing in self.standings.items()
            if now - standing.at < cooldown_ms
        }
        self.weigh_told()
        return len(self.standings) < limit

    def settle(self, event: Event) -> None:
        """The event is over: the next one is compared with it."""
        self.last = event.timestamp
        page = event.page
        if page != self.page and event.action not in PASSIVE:
            self._texts += text_bytes(page) - text_bytes(self.page)
            self.page = page
            self.grown = True

    def bytes(self) -> int:
        """What is held for this visitor beside the window, as `sizes` estimates it."""
        held = VISITOR + self._texts + self._told
        return held if self.visits is None else held + self.visits.bytes

    def weigh(self) -> None:
        """See what is held beside the window and the visits."""
        texts = (self.user_id, self.identified, self.page, *self.views)
        self._texts = sum(map(text_bytes, texts))
        self.weigh_told()

    def weigh_told(self) -> None:
        """The same for the patterns alone, when one of them has come, gone or grown."""
        told = list(self.standings.values()) if self.standings else []
        loop = self.visits.open_loop if self.visits else None
        if loop is not None and all(loop is not standing for standing in told):
            told.append(loop)
        self._told = sum(standing.bytes for standing in told)
        self.grown = True

    def _show(self, view: str) -> None:
        self.view = view
        if view:
            if view not in self.views:
                self._texts += text_bytes(view)
                self.grown = True
                if len(self.views) == VIEWS_KEPT:
                    self._texts -= text_bytes(self.views[0])
            others = [shown for shown in self.views if shown != view]
            self.views = (*others, view)[-VIEWS_KEPT:]

    def _identify(self, event: Event) -> None:
        known = (event.metadata or {}).get("id", "").strip()
        if known:
            self.grown = True
            self._texts -= text_bytes(self.identified)
            self.identified = known[:MAX_KNOWN_ID]
            self._texts += text_bytes(self.identified)
