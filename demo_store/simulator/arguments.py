"""What may be written on the command line of `simulate`, and what it means."""

import re
from argparse import ArgumentTypeError
from typing import Final
from urllib.parse import urlsplit

MOST_USERS: Final = 5_000
SLOWEST_MS: Final = 10_000
_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = r"\d+(?:\.\d+)?(?:ms|s|m|h)"


def duration(text: str) -> float:
    """Seconds of `90s`, `3m`, `1h30m`, `500ms`."""
    if not re.fullmatch(f"(?:{_PART})+", text.strip(), re.ASCII):
        raise ArgumentTypeError(f"{text!r} is not a duration; write 90s, 3m, 1h30m or 500ms")
    parts = re.findall(r"([\d.]+)(ms|s|m|h)", text)
    total = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if not 0 < total < float("inf"):
        raise ArgumentTypeError(f"{text!r} is no time at all; a run needs some")
    return total


def users(text: str) -> int:
    return _whole(text, 1, MOST_USERS, "visitors")


def rate(text: str) -> int:
    """Mean gap in ms. Slower than this, a loop would outlast the window it is seen in."""
    return _whole(text, 1, SLOWEST_MS, "ms between a visitor's events")


def _whole(text: str, least: int, most: int, what: str) -> int:
    if re.fullmatch(r"\d{1,9}", text.strip(), re.ASCII) and least <= int(text) <= most:
        return int(text)
    raise ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most} ({what})")


def url(text: str) -> str:
    """The server's address, without a trailing slash."""
    try:
        parts = urlsplit(text.strip())
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise ArgumentTypeError(
            f"{text!r} is not a server's address; write one like http://127.0.0.1:8000"
        )
    return text.strip().rstrip("/")
