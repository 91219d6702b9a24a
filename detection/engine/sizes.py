"""What things hold in memory: estimates, in bytes.

Each is a pure function of values, so that what is evicted does not depend on how objects happen to
be shared, cached or restored. The fixed costs were measured on CPython 3.11 and lean to too much
(`tests/engine/test_sizes.py` holds them against tracemalloc). Text that is not ASCII counts two
bytes a character, four where one of them needs that, and the UTF-8 that encoding leaves behind in a
string: for the journal, and for a snapshot.
"""

from typing import Final

from .events import Event

TEXT: Final = 56  # a text beside its characters
WIDE_TEXT: Final = 88  # the same where they are not ASCII
EVENT: Final = 176  # an event, its numbers and its places in the window, beside its texts
PLAIN_EVENT: Final = EVENT + 2 * TEXT
METADATA: Final = 216  # the dictionary
ENTRY: Final = 24  # a key in a dictionary, beside its texts
VISITOR: Final = 640  # a visitor and their place among visitors
VISITS: Final = 260
VISIT: Final = 72
PAGE_VISITS: Final = 72
STANDING: Final = 420
JOURNEY: Final = 600
WAKE: Final = 176
LOSS: Final = 300
LOSS_STEP: Final = 180


def text_bytes(text: str) -> int:
    """A text on its own."""
    if text.isascii():
        return TEXT + len(text)
    characters = len(text)
    wide = len(text.encode("utf-16-le", "surrogatepass")) > 2 * characters
    held = 4 * characters if wide else 2 * characters
    return WIDE_TEXT + held + len(text.encode("utf-8", "surrogatepass"))


def event_bytes(event: Event) -> int:
    """An event with its texts, none of them shared."""
    page, user_id, view = event.page, event.user_id, event.view
    if page.isascii() and user_id.isascii():
        size = PLAIN_EVENT + len(page) + len(user_id)
    else:
        size = EVENT + text_bytes(page) + text_bytes(user_id)
    if view:
        size += text_bytes(view)
    metadata = event.metadata
    if metadata:
        size += METADATA
        for key, value in metadata.items():
            size += ENTRY + text_bytes(key) + text_bytes(value)
    return size
