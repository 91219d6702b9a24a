"""In what condition the server is: what /health and /ready tell, in words for people.

All of it is read from memory, so that it is told while the database is away and the engine busy.
It is told to anyone, so it names neither hosts nor what a database said: the log has that.
"""

from collections.abc import Iterator
from typing import NamedTuple

from detection.pipeline import State
from detection.queueing import MOST_BYTES
from detection.runtime import Runtime, Status

# Of what the queue may hold, the part from which on this process counts as full: one that is
# refusing batches all day is rarely full to the last event.
FULL = 0.9

_ENGINE = {
    State.IDLE: "The engine has not been started.",
    State.WAITING: (
        "Another process runs the engine of this database; this one waits to take over."
    ),
    State.RECOVERING: "What was accepted before is being read again.",
    State.ENDED: "The engine has ended.",
}


class Condition(NamedTuple):
    """alive: no thread of the server has ended.

    checks: recovered (what was accepted before is in the engine), owner (this process runs the
    engine of the database), database (it takes writes), queue (more events may wait).
    reasons: why a check is false, or why the process is not alive.
    """

    alive: bool
    checks: dict[str, bool]
    reasons: list[str]

    @property
    def well(self) -> bool:
        """Whether there is nothing to say."""
        return self.alive and all(self.checks.values())


def condition(runtime: Runtime) -> Condition:
    """How `runtime` stands now. Never waits."""
    status = runtime.status()
    full = _full(runtime)
    reasons = [*_of_the_engine(status), *full]
    if not status.alive:
        reasons.insert(0, "A thread of the server has ended; it has to be started again.")
    checks = {
        "recovered": status.state is State.RUNNING,
        "owner": status.state in {State.RECOVERING, State.RUNNING},
        "database": not status.database,
        "queue": not full,
    }
    return Condition(status.alive, checks, reasons)


def _of_the_engine(status: Status) -> Iterator[str]:
    if status.database:
        yield "The database refuses to write; the log has what it said."
    if status.database and status.state in {State.IDLE, State.WAITING}:
        yield "Who runs the engine is not known until it answers."
    elif status.state in _ENGINE:
        yield _ENGINE[status.state]


def _full(runtime: Runtime) -> list[str]:
    """What is nearly full, in words."""
    pipeline, outbox = runtime.pipeline, runtime.outbox
    full = []
    waiting = max(pipeline.queued_events / pipeline.capacity, pipeline.queued_bytes / MOST_BYTES)
    if waiting >= FULL:
        full.append(f"The queue of events is {min(waiting, 1):.0%} full.")
    if outbox.full:
        full.append(f"{len(outbox):,} changes of patterns wait to be stored, as many as may.")
    return full
