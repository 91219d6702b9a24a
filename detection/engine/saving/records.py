"""The saved form of what the engine holds.

A change here, or in what visitors, journeys, windows, visits, standings and losses are made of,
raises `frames.VERSION`; a test holds a fingerprint of all of them to it.

Events are saved in columns: texts that repeat (pages, actions) are written once, and restored as
one. Whom they belong to is known from the record around them.
"""

from collections.abc import Sequence
from itertools import count, repeat
from operator import attrgetter
from typing import Any, Final

import msgspec

from ..events import Event
from ..patterns import Severity
from ..rules.journey import Journey, Loss
from ..rules.visits import Visit, Visits
from ..standing import Finding, Standing

TEXTS: Final = (attrgetter("action"), attrgetter("page"), attrgetter("view"))

Tallied = tuple[int, int, int, int, int]  # site, total_events, late, entered, abandoned


class Events(msgspec.Struct, array_like=True, gc=False):
    """Events of one visitor. actions, pages, views: places in texts. stamps: after the first."""

    texts: list[str]
    actions: list[int]
    pages: list[int]
    views: list[int] | None
    first: int
    stamps: list[int]
    metadata: list[dict[str, str] | None] | None


class StandingRecord(msgspec.Struct, array_like=True, gc=False):
    """A standing, and the type of its pattern."""

    type: str
    pattern_id: str
    place: str
    severity: Severity
    detected_at: int
    at: int
    mark: int
    events: Events
    bytes: int
    recovered: bool


class VisitsRecord(msgspec.Struct, array_like=True, gc=False):
    """Visits in columns. pages: places in texts."""

    texts: list[str]
    numbers: list[int]
    pages: list[int]
    sinces: list[int]
    last_new: int
    open_loop: StandingRecord | None


class VisitorRecord(msgspec.Struct, array_like=True, gc=False):
    """A visitor. ordinal: their place in the order by last arrival. arrivals: after the first."""

    ordinal: int
    site: int
    user_id: str
    identified: str
    page: str
    last: int
    hidden: bool
    view: str
    views: tuple[str, ...]
    first_number: int
    first_arrival: int
    arrivals: list[int]
    events: Events
    standings: list[StandingRecord]
    visits: VisitsRecord | None


class LossRecord(msgspec.Struct, array_like=True, gc=False):
    """A loss. standing: its place among the journey's, or -1."""

    at: int
    standing: int
    place: str
    page: str
    facts: dict[str, Any]
    bytes: int


class JourneyRecord(msgspec.Struct, array_like=True, gc=False):
    """A journey. events: those of the steps, then hidden_by, then left, where there are any.
    standings: the last of each place, so many as `last_ones`, and then others that losses know.
    """

    ordinal: int
    owner: int
    site: int
    user_id: str
    identified: str
    hidden: bool
    heard: int
    keep_until: int
    settled: str
    furthest: int
    leave_due: int
    steps: list[int]
    has_hidden_by: bool
    has_left: bool
    events: Events
    losses: list[LossRecord]
    standings: list[StandingRecord]
    last_ones: int
    wakes: list[int]


class Header(msgspec.Struct, array_like=True, tag="header"):
    """The first piece: the engine itself, and how many records there are to come."""

    config: bytes
    now: int
    tallies: list[Tallied]
    evicted_visitors: int
    evicted_attempts: int
    visitors: int
    journeys: int


class Part(msgspec.Struct, array_like=True, tag="part"):
    """Any other piece. header: the checksum of the header that it belongs to."""

    header: int
    visitors: list[VisitorRecord]
    journeys: list[JourneyRecord]


class RawPart(msgspec.Struct, array_like=True, tag="part"):
    """A part as it is written, of records that are encoded already."""

    header: int
    visitors: list[msgspec.Raw]
    journeys: list[msgspec.Raw]


SAVED = (
    Header,
    Part,
    VisitorRecord,
    VisitsRecord,
    JourneyRecord,
    LossRecord,
    StandingRecord,
    Events,
)


def pack_events(events: Sequence[Event]) -> Events:
    """Events in columns."""
    first = events[0].timestamp if events else 0
    actions, pages, views = (list(map(field, events)) for field in TEXTS)
    metadata = list(map(attrgetter("metadata"), events))
    texts = list(dict.fromkeys([*actions, *pages, *views]))
    place = dict(zip(texts, count(), strict=False)).__getitem__
    return Events(
        texts=texts,
        actions=list(map(place, actions)),
        pages=list(map(place, pages)),
        views=list(map(place, views)) if any(views) else None,
        first=first,
        stamps=[event.timestamp - first for event in events],
        metadata=metadata if any(metadata) else None,
    )


def unpack_events(saved: Events, site: int, user_id: str) -> list[Event]:
    """The events again."""
    text = saved.texts.__getitem__
    first = saved.first
    views = map(text, saved.views) if saved.views is not None else repeat("")
    metadata = saved.metadata if saved.metadata is not None else repeat(None)
    events = map(
        Event,
        repeat(site),
        repeat(user_id),
        map(text, saved.actions),
        map(text, saved.pages),
        [first + stamp for stamp in saved.stamps],
        views,
        metadata,
    )
    return list(events)


def pack_standing(type_: str, standing: Standing) -> StandingRecord:
    return StandingRecord(
        type=type_,
        pattern_id=standing.pattern_id,
        place=standing.place,
        severity=standing.severity,
        detected_at=standing.detected_at,
        at=standing.at,
        mark=standing.mark,
        events=pack_events(standing.events),
        bytes=standing.bytes,
        recovered=standing.recovered,
    )


def unpack_standing(saved: StandingRecord, site: int, user_id: str) -> Standing:
    return Standing(
        pattern_id=saved.pattern_id,
        place=saved.place,
        severity=saved.severity,
        detected_at=saved.detected_at,
        at=saved.at,
        mark=saved.mark,
        events=tuple(unpack_events(saved.events, site, user_id)),
        bytes=saved.bytes,
        recovered=saved.recovered,
    )


def pack_visits(type_: str, visits: Visits) -> VisitsRecord:
    """type_: of the open loop."""
    table: dict[str, int] = {}
    held = visits.held
    loop = visits.open_loop
    pages = [table.setdefault(visit.page, len(table)) for visit in held]
    return VisitsRecord(
        texts=list(table),
        numbers=[visit.number for visit in held],
        pages=pages,
        sinces=[visit.since for visit in held],
        last_new=visits.last_new,
        open_loop=pack_standing(type_, loop) if loop is not None else None,
    )


def unpack_visits(saved: VisitsRecord, busy_from: int) -> Visits:
    """The visits, their loop apart."""
    visits = Visits(busy_from)
    pages = map(saved.texts.__getitem__, saved.pages)
    visits.resume(map(Visit, saved.numbers, pages, saved.sinces), saved.last_new)
    return visits


def pack_journey(ordinal: int, journey: Journey) -> JourneyRecord:
    standings = {standing.pattern_id: standing for standing in journey.standings.values()}
    last_ones = len(standings)
    for loss in journey.losses:
        if loss.standing is not None:
            standings.setdefault(loss.standing.pattern_id, loss.standing)
    places = {pattern_id: place for place, pattern_id in enumerate(standings)}
    kept = (*journey.steps.values(), journey.hidden_by, journey.left)
    return JourneyRecord(
        ordinal=ordinal,
        owner=journey.owner,
        site=journey.site,
        user_id=journey.user_id,
        identified=journey.identified,
        hidden=journey.hidden,
        heard=journey.heard,
        keep_until=journey.keep_until,
        settled=journey.settled,
        furthest=journey.furthest,
        leave_due=journey.leave_due,
        steps=list(journey.steps),
        has_hidden_by=journey.hidden_by is not None,
        has_left=journey.left is not None,
        events=pack_events([event for event in kept if event is not None]),
        losses=[_pack_loss(loss, places) for loss in journey.losses],
        standings=[pack_standing("", standing) for standing in standings.values()],
        last_ones=last_ones,
        wakes=list(journey.wakes),
    )


def _pack_loss(loss: Loss, places: dict[str, int]) -> LossRecord:
    finding: Finding = loss.finding
    return LossRecord(
        at=loss.at,
        standing=places[loss.standing.pattern_id] if loss.standing is not None else -1,
        place=finding.place,
        page=finding.page,
        facts=finding.facts,
        bytes=loss.bytes,
    )
