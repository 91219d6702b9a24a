"""A snapshot that is taken in slices while the engine goes on.

It begins by holding on to every visitor and journey, which costs next to nothing each. What is not
encoded yet and is about to change is encoded first (`keep_visitor`, `keep_journey`); what the
engine forgets meanwhile does not change any more. So the pieces together say how everything stood
at one moment, in whatever order they come.
"""

import zlib
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from ..config import EngineConfig, encode_config
from ..rules.journey import Journey
from ..rules.journeys import Journeys
from ..rules.navigation_loop import NavigationLoop
from ..snapshots import Tally
from ..visitor import Visitor
from ..visitors import Visitors
from .frames import framed
from .records import (
    Header,
    RawPart,
    VisitorRecord,
    pack_events,
    pack_journey,
    pack_standing,
    pack_visits,
)

encode: Final = msgspec.msgpack.Encoder().encode


class Capture:
    """The pieces of one snapshot, one `take` after another.

    The engine makes it, and tells it what is about to change. It is of no use once the engine has
    begun another one or dropped it.
    """

    def __init__(
        self,
        config: EngineConfig,
        now: int,
        tallies: Mapping[int, Tally],
        visitors: Visitors,
        journeys: Journeys,
        at_end: Callable[[], None],
    ) -> None:
        held, ways = visitors.held.values(), journeys.held.values()
        self._visitors = {visitor: ordinal for ordinal, visitor in enumerate(held)}
        self._journeys = {journey: ordinal for ordinal, journey in enumerate(ways)}
        self._kept_visitors: list[msgspec.Raw] = []
        self._kept_journeys: list[msgspec.Raw] = []
        self._at_end = at_end
        self._ended = False
        header = Header(
            config=encode_config(config),
            now=now,
            tallies=[
                (site, tally.total_events, tally.late, tally.entered, tally.abandoned)
                for site, tally in tallies.items()
            ],
            evicted_visitors=visitors.evicted,
            evicted_attempts=journeys.evicted,
            visitors=len(held),
            journeys=len(ways),
        )
        self._header = encode(header)
        self._checksum = zlib.crc32(self._header)
        self._begun = False

    @property
    def done(self) -> bool:
        """Whether every piece has been taken."""
        return self._begun and not (
            self._visitors or self._journeys or self._kept_visitors or self._kept_journeys
        )

    def take(self, visitors: int) -> bytes:
        """The next piece: the header first, then up to so many visitors and journeys. Raises
        RuntimeError once it is done, or the engine has ended it.
        """
        if self._ended:
            raise RuntimeError("this capture has ended")
        if self._begun:
            piece = self._part(max(1, visitors))
        else:
            self._begun = True
            piece = framed(self._header)
        if self.done:
            self._at_end()
        return piece

    def end(self) -> None:
        """Let go of everything."""
        self._ended = True
        for held in (self._visitors, self._journeys, self._kept_visitors, self._kept_journeys):
            held.clear()

    def keep_visitor(self, visitor: Visitor) -> None:
        """A visitor is about to change."""
        ordinal = self._visitors.pop(visitor, None)
        if ordinal is not None:
            self._encode_visitor(visitor, ordinal)

    def keep_journey(self, journey: Journey) -> None:
        """A journey is about to change."""
        ordinal = self._journeys.pop(journey, None)
        if ordinal is not None:
            self._encode_journey(journey, ordinal)

    def _encode_visitor(self, visitor: Visitor, ordinal: int) -> None:
        self._kept_visitors.append(msgspec.Raw(encode(_pack_visitor(ordinal, visitor))))

    def _encode_journey(self, journey: Journey, ordinal: int) -> None:
        self._kept_journeys.append(msgspec.Raw(encode(pack_journey(ordinal, journey))))

    def _part(self, most: int) -> bytes:
        """What has been kept comes first, then those last heard: they are likeliest to change."""
        while len(self._kept_visitors) < most and self._visitors:
            self._encode_visitor(*self._visitors.popitem())
        taken = self._kept_visitors[:most]
        room = most - len(taken)
        while len(self._kept_journeys) < room and self._journeys:
            self._encode_journey(*self._journeys.popitem())
        part = RawPart(self._checksum, taken, self._kept_journeys[:room])
        del self._kept_visitors[:most]
        del self._kept_journeys[:room]
        return framed(encode(part))


def _pack_visitor(ordinal: int, visitor: Visitor) -> VisitorRecord:
    window = visitor.window
    arrivals = window.arrivals
    standings = visitor.standings or {}
    return VisitorRecord(
        ordinal=ordinal,
        site=visitor.site,
        user_id=visitor.user_id,
        identified=visitor.identified,
        page=visitor.page,
        last=visitor.last,
        hidden=visitor.hidden,
        view=visitor.view,
        views=visitor.views,
        first_number=window.first,
        first_arrival=arrivals[0],
        arrivals=[arrival - arrivals[0] for arrival in arrivals],
        events=pack_events(window.events),
        standings=[pack_standing(type_, standing) for (type_, _), standing in standings.items()],
        visits=pack_visits(NavigationLoop.name, visitor.visits) if visitor.visits else None,
    )
