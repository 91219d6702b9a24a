"""From the pieces of a snapshot to what the engine held when it was captured."""

import zlib
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

import msgspec

from ..config import EngineConfig, decode_config
from ..patterns import Severity
from ..rules.departure import NAME
from ..rules.journey import Journey, Loss
from ..snapshots import Tally
from ..standing import Finding, Standing
from ..visitor import Visitor
from ..window import Window
from .frames import SnapshotUnusable, unframed
from .records import (
    Header,
    JourneyRecord,
    LossRecord,
    Part,
    VisitorRecord,
    unpack_events,
    unpack_standing,
    unpack_visits,
)

Held = TypeVar("Held")

_decode: Final = msgspec.msgpack.Decoder(Header | Part).decode


class Saved(msgspec.Struct):
    """What an engine consists of. visitors, journeys: longest unheard first."""

    config: EngineConfig
    now: int
    tallies: dict[int, Tally]
    evicted_visitors: int
    evicted_attempts: int
    visitors: list[Visitor]
    journeys: list[Journey]


def read(pieces: Iterable[bytes]) -> Saved:
    """What the pieces say, the header's first. Raises SnapshotUnusable."""
    try:
        return _read(pieces)
    except (msgspec.MsgspecError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise SnapshotUnusable(f"a piece makes no sense: {error}") from None


def _read(pieces: Iterable[bytes]) -> Saved:
    visitors: dict[int, Visitor] = {}
    journeys: dict[int, Journey] = {}
    header: Header | None = None
    checksum = 0
    config = EngineConfig()
    for piece in pieces:
        body = unframed(piece)
        decoded = _decode(body)
        if isinstance(decoded, Header):
            if header is not None:
                raise SnapshotUnusable("it has two headers")
            header, checksum, config = decoded, zlib.crc32(body), decode_config(decoded.config)
        elif header is None or decoded.header != checksum:
            raise SnapshotUnusable("a piece belongs to another snapshot")
        else:
            for visitor in decoded.visitors:
                visitors[visitor.ordinal] = _visitor(visitor, config)
            for journey in decoded.journeys:
                journeys[journey.ordinal] = _journey(journey, config)
    if header is None:
        raise SnapshotUnusable("it has no pieces")
    return Saved(
        config=config,
        now=header.now,
        tallies={site: _tally(*counts) for site, *counts in header.tallies},
        evicted_visitors=header.evicted_visitors,
        evicted_attempts=header.evicted_attempts,
        visitors=_ordered(visitors, header.visitors),
        journeys=_ordered(journeys, header.journeys),
    )


def _ordered(found: dict[int, Held], expected: int) -> list[Held]:
    if len(found) != expected or not all(0 <= ordinal < expected for ordinal in found):
        raise SnapshotUnusable(f"{expected} records should be there, not {len(found)}")
    return [found[ordinal] for ordinal in range(expected)]


def _tally(total_events: int, late: int, entered: int, abandoned: int) -> Tally:
    tally = Tally()
    tally.total_events = total_events
    tally.late = late
    tally.entered = entered
    tally.abandoned = abandoned
    return tally


def _visitor(saved: VisitorRecord, config: EngineConfig) -> Visitor:
    site, user_id = saved.site, saved.user_id
    visitor = Visitor(site, user_id, saved.identified)
    first = saved.first_arrival
    visitor.window = Window.of(
        saved.first_number,
        unpack_events(saved.events, site, user_id),
        [first + arrival for arrival in saved.arrivals],
    )
    visitor.page = saved.page
    visitor.last = saved.last
    visitor.hidden = saved.hidden
    visitor.view = saved.view
    visitor.views = saved.views
    told: dict[str, Standing] = {}
    for record in saved.standings:
        standing = told[record.pattern_id] = unpack_standing(record, site, user_id)
        visitor.stand(record.type, standing)
    if saved.visits is not None:
        visitor.visits = unpack_visits(saved.visits, config.loop.min_visits)
        loop = saved.visits.open_loop
        if loop is not None:
            known = told.get(loop.pattern_id)
            visitor.visits.open_loop = known or unpack_standing(loop, site, user_id)
    visitor.weigh()
    return visitor


def _journey(saved: JourneyRecord, config: EngineConfig) -> Journey:
    if not 0 <= saved.owner < len(config.abandonment.funnels):
        raise SnapshotUnusable(f"there is no funnel {saved.owner}")
    journey = Journey(saved.site, saved.user_id, saved.owner)
    journey.identified = saved.identified
    journey.hidden = saved.hidden
    journey.heard = saved.heard
    journey.keep_until = saved.keep_until
    journey.settled = saved.settled
    journey.furthest = saved.furthest
    events = unpack_events(saved.events, saved.site, saved.user_id)
    if saved.has_left:
        journey.left = events.pop()
    if saved.has_hidden_by:
        journey.hidden_by = events.pop()
    journey.leave_due = saved.leave_due
    for index, event in zip(saved.steps, events, strict=True):
        journey.reach(index, event)
    standings = [unpack_standing(told, saved.site, saved.user_id) for told in saved.standings]
    journey.standings = {standing.place: standing for standing in standings[: saved.last_ones]}
    journey.losses = tuple(_loss(loss, standings) for loss in saved.losses)
    journey.wakes = saved.wakes
    journey.weigh()
    return journey


def _loss(saved: LossRecord, standings: Sequence[Standing]) -> Loss:
    finding = Finding(
        type=NAME,
        place=saved.place,
        page=saved.page,
        severity=Severity.HIGH,
        explanation="",
        facts=saved.facts,
        events=(),
    )
    standing = standings[saved.standing] if saved.standing >= 0 else None
    return Loss(saved.at, standing, finding, saved.bytes)
