"""What a run shows of itself: a live table, a line for logs, and the closing summary."""

from io import StringIO
from typing import Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from demo_store.simulator.ledger import Ledger, Tally
from demo_store.simulator.runner import Options, Run
from demo_store.simulator.scenarios import SCENARIOS

WIDTH: Final = 100
SEVERITY_STYLES: Final = {"high": "bold red", "medium": "yellow", "low": "cyan"}


def clock(seconds: float) -> str:
    """`45 s`, `3 min 5 s`, `1 h 2 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def counted(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def opening(options: Options) -> str:
    lasting = "until Ctrl-C" if options.duration_s is None else f"for {clock(options.duration_s)}"
    return (
        f"Simulating {counted(options.users, 'visitor')} at {options.url} {lasting}, "
        f"an event about every {options.rate_ms} ms each (seed {options.seed})."
    )


def events_line(ledger: Ledger) -> str:
    """The three figures, and what has had no answer yet where there is any."""
    line = f"Events: {ledger.sent:,} sent, {ledger.accepted:,} accepted, {ledger.refused:,} refused"
    waiting = ledger.undelivered
    return f"{line}, {waiting:,} without an answer." if waiting else f"{line}."


def plain_line(run: Run) -> str:
    """One line for a log that is not a terminal."""
    total = run.ledger.total()
    parts = [
        clock(run.elapsed_s),
        run.state,
        counted(total.running, "visitor"),
        events_line(run.ledger).rstrip("."),
        f"patterns: {total.seen:,} of {total.expected:,} expected seen",
    ]
    if total.unexpected:
        parts.append(f"{total.unexpected:,} unexpected")
    return " · ".join(parts + troubles(run.ledger))


def troubles(ledger: Ledger) -> list[str]:
    """What stands in the way at this moment."""
    if ledger.away:
        return [f"{ledger.away}; trying again"]
    return [f"patterns cannot be read: {ledger.blind}"] if ledger.blind else []


def table(ledger: Ledger, closing: bool) -> Table:
    """Counts of each scenario. closing: what is still outstanding has been missed."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("Scenario")
    headings = ["Journeys", "Finished", "Patterns expected", "Seen"]
    for heading in [*headings, "Missed" if closing else "To come", "Unexpected"]:
        shown.add_column(heading, justify="right")
    for scenario in SCENARIOS:
        shown.add_row(scenario.name, *_figures(ledger.tallies[scenario.name], ledger))
    shown.add_section()
    shown.add_row("all", *_figures(ledger.total(), ledger))
    return shown


def _figures(tally: Tally, ledger: Ledger) -> list[Text]:
    unseen = tally.expected - tally.seen
    figures = [tally.started, tally.finished, tally.expected]
    cells = [Text(f"{figure:,}") for figure in figures]
    if ledger.blind and not tally.seen:
        return [*cells, Text("?"), Text("?"), Text("?")]
    return [
        *cells,
        Text(f"{tally.seen:,}"),
        Text(f"{unseen:,}", style="yellow" if unseen else ""),
        Text(f"{tally.unexpected:,}", style="red" if tally.unexpected else ""),
    ]


def live(run: Run) -> RenderableType:
    """The whole live display."""
    ledger = run.ledger
    head = Text.assemble(
        (run.state.capitalize(), "bold"),
        f" · {clock(run.elapsed_s)}",
        f" of {clock(run.options.duration_s)}" if run.options.duration_s else "",
        f" · {counted(ledger.total().running, 'visitor')} · {events_line(ledger)}",
    )
    parts: list[RenderableType] = [head, table(ledger, closing=False)]
    parts += [Text(trouble, style="red") for trouble in troubles(ledger)]
    parts += [
        Text.assemble(
            (sighting.severity.ljust(6), SEVERITY_STYLES.get(sighting.severity, "")),
            f"  {sighting.explanation}",
            overflow="ellipsis",
            no_wrap=True,
        )
        for sighting in ledger.latest
    ]
    again = "skip the wait" if run.stops.first.is_set() else "stop"
    parts.append(Text(f"Ctrl-C to {again}", style="dim"))
    return Group(*parts)


def summary(run: Run) -> RenderableType:
    """The closing report."""
    ledger, total = run.ledger, run.ledger.total()
    parts: list[RenderableType] = [
        Text(
            f"Simulation over after {clock(run.elapsed_s)}: "
            f"{counted(total.started, 'journey')} begun, {total.finished:,} finished "
            f"(seed {run.options.seed}, visitors sim-{run.options.run}-…)."
        ),
        Text(events_line(ledger)),
        table(ledger, closing=True),
        Text(verdict(ledger)),
    ]
    parts += [Text(f"  {note}") for note in notes(ledger)]
    return Group(*parts)


def verdict(ledger: Ledger) -> str:
    """The run in one sentence."""
    total = ledger.total()
    if ledger.sent and not ledger.reached:
        return f"The server was never reached: {ledger.away}."
    if ledger.sent and not ledger.accepted:
        return "The server accepted nothing."
    if ledger.blind and total.expected > total.seen:
        return f"Which patterns were seen is not known: {ledger.blind}."
    missed = total.expected - total.seen
    if not missed and not total.unexpected:
        if total.expected:
            return "Every expected pattern was seen, and nothing else."
        return "No pattern was expected, and none was seen."
    return (
        f"{counted(missed, 'expected pattern')} not seen, "
        f"{counted(total.unexpected, 'unexpected pattern')} seen."
    )


def notes(ledger: Ledger) -> list[str]:
    """What a reader of the summary may want to look into."""
    found = [
        f"refused, {count:,} times: {reason}"
        for reason, count in sorted(ledger.refusals.items(), key=lambda pair: -pair[1])[:5]
    ]
    if ledger.failures:
        requests = counted(ledger.failures, "request")
        found.append(f"{requests} got no answer or were put off, and were tried again")
    if ledger.too_fast:
        found.append(
            f"429, {ledger.too_fast:,} times: the server limits what one address may send; "
            "start it with BL_RATE_LIMIT=off for a load test"
        )
    for scenario in SCENARIOS:
        for example in ledger.tallies[scenario.name].examples:
            found.append(f"unexpected in {scenario.name}: {example}")
    return found


def text(content: RenderableType, width: int = WIDTH, colour: bool = False) -> str:
    """Anything that rich can draw, as text."""
    console = Console(
        file=StringIO(), width=width, force_terminal=colour, no_color=not colour, highlight=False
    )
    console.print(content, soft_wrap=False)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in lines)
