"""What things hold in memory: estimates, in bytes.

Each is a pure function of values, so that what is evicted does not depend on how objects happen to
be shared, cached or restored. The fixed costs were measured on CPython 3.11 and lean to too much
(`tests/engine/test_sizes.py` holds them against tracemalloc). Text that is not ASCII counts four
bytes a character and the UTF-8 that encoding it leaves behind in the string.
"""

from typing import Final

from .events import Event

TEXT: Final = 56  # a text beside its characters
WIDE_TEXT: Final = 88  # the same where they are not ASCII
EVENT: Final = 176  # an event, its numbers and its places in the window, beside its texts
METADATA: Final = 216  # the dictionary
ENTRY: Final = 24  # a key in a dictionary, beside its texts
VISITOR: Final = 1_100  # a visitor and their place among visitors
VISITS: Final = 560
VISIT: Final = 128
PAGE_VISITS: Final = 200
STANDING: Final = 640
JOURNEY: Final = 1_100
STEP: Final = 64
WAKE: Final = 176
LOSS: Final = 1_400
LOSS_STEP: Final = 320


def text_bytes(text: str) -> int:
    """A text on its own."""
    if text.isascii():
        return TEXT + len(text)
    return WIDE_TEXT + 4 * len(text) + len(text.encode("utf-8", "surrogatepass"))


def event_bytes(event: Event) -> int:
    """An event with its texts, none of them shared."""
    page, user_id, view = event.page, event.user_id, event.view
    if page.isascii() and user_id.isascii():
        size = EVENT + 2 * TEXT + len(page) + len(user_id)
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
