"""What a visitor's browser says, as the engine knows it: cleaned, and with corrected time."""

from typing import Final

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


class Event(msgspec.Struct, frozen=True):
    """One thing a visitor did.

    site: primary key of the site it belongs to.
    user_id: the visitor, 1-128 characters.
    action: one of ACTIONS.
    page: a path, without query, fragment or trailing slash (`/` stays).
    timestamp: when it happened, epoch ms, corrected to the server's clock.
    view: id of the page view it belongs to, or "".
    metadata: at most 16 keys, values kept as strings of at most 512 characters; None if empty.
    """

    site: int
    user_id: str
    action: str
    page: str
    timestamp: int
    view: str = ""
    metadata: dict[str, str] | None = None
