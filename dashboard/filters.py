"""What a person asked to see in the feed."""

from dataclasses import dataclass
from typing import Self
from urllib.parse import urlencode

from django.http import QueryDict

from dashboard.words import SEVERITIES
from detection.api import normal

MOST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Filters:
    """Empty fields let everything pass. q: as it was typed."""

    type: str = ""
    severity: str = ""
    q: str = ""

    @classmethod
    def asked(cls, query: QueryDict) -> Self:
        """From an address, forgiving: what makes no sense as a filter is no filter."""
        severity = query.get("severity", "")
        return cls(
            type=clean(query.get("type", "")),
            severity=severity if severity in SEVERITIES else "",
            q=clean(query.get("q", "")),
        )

    @property
    def any(self) -> bool:
        return bool(self.type or self.severity or self.normal_q)

    @property
    def normal_q(self) -> str:
        """The text as it is compared with a pattern's search text."""
        return normal(self.q)

    def address(self, visitor: str = "") -> str:
        """The query string of a page with these filters and that visitor; "" for none."""
        pairs = {"type": self.type, "severity": self.severity, "q": self.q, "visitor": visitor}
        query = urlencode({name: value for name, value in pairs.items() if value})
        return f"?{query}" if query else ""


def clean(text: str) -> str:
    """Text from an address without what no database takes, and not endless."""
    return text.replace("\0", "").strip()[:MOST_TEXT]
