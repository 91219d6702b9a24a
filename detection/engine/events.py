"""What a visitor's browser says, as the engine knows it: cleaned, and with corrected time."""

from typing import Any, Final

import msgspec

ACTIONS: Final = frozenset(
    {
        "click",
        "scroll",
        "idle",
        "navigate",
        "abandon",
        "tab_hidden",
        "tab_visible",
        "leave",
        "confirm",
        "purchase",
        "identify",
    }
)


class Event(msgspec.Struct, frozen=True, gc=False):
    """One thing a visitor did.

    site: primary key of the site it belongs to.
    user_id: the visitor, 1-128 characters.
    action: one of ACTIONS.
    page: a path, without query, fragment or trailing slash (`/` stays).
    timestamp: when it happened, epoch ms, corrected to the server's clock.
    view: id of the page view it belongs to, or "".
    metadata: at most 16 keys, values kept as strings of at most 512 characters; None if empty.

    It refers to nothing that could refer back to it, so the garbage collector need not track it.
    """

    site: int
    user_id: str
    action: str
    page: str
    timestamp: int
    view: str = ""
    metadata: dict[str, str] | None = None

    def wire(self) -> dict[str, Any]:
        """The event in the wire's shape: plain JSON types, empty fields left out."""
        wired: dict[str, Any] = {
            "user_id": self.user_id,
            "action": self.action,
            "page": self.page,
            "timestamp": self.timestamp,
        }
        if self.view:
            wired["view"] = self.view
        if self.metadata:
            wired["metadata"] = dict(self.metadata)
        return wired
