"""`manage.py simulate` as a person runs it: progress, summary, Ctrl-C, exit code."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo_store.simulator import report
from demo_store.simulator.ledger import Journey, Ledger, Outgoing
from demo_store.simulator.runner import Options, Run, visitor_id
from demo_store.simulator.scenarios import SCENARIOS, Step
from tests.server import ROOT, Server, environment, free_port

BROWSE, HESITATE, LOOP, _, _ = SCENARIOS
# The server and the simulator of these tests wait less for a visitor who has left.
GRACE = {"BL_LEAVE_GRACE": "2"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("simulated"), migrated, **GRACE) as running:
        yield running


def simulate(
    folder: Path, *arguments: str, terminal: int = subprocess.PIPE
) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "manage.py", "simulate", *arguments],
        cwd=ROOT,
        # A database that is not there: the simulator needs none.
        env=environment(folder / "none.sqlite3", TERM="xterm-256color", COLUMNS="100", **GRACE),
        text=True,
        stdout=terminal,
        stderr=terminal,
    )


def ended(process: "subprocess.Popen[str]", timeout: float = 90) -> tuple[int, str]:
    """Exit code and output; nothing may be said on stderr."""
    try:
        output, errors = process.communicate(timeout=timeout)
    finally:
        process.kill()
        process.wait()
    assert errors == ""
    return process.returncode, output


def row(output: str, name: str) -> list[int]:
    """Journeys, finished, expected, seen, missed, unexpected."""
    found = re.search(rf"^ {name}((?: +[\d,]+){{6}})$", output, re.MULTILINE)
    assert found, output
    return [int(figure.replace(",", "")) for figure in found[1].split()]


def test_a_real_server_sees_every_expected_pattern_and_nothing_else(
    store: Server, tmp_path: Path
) -> None:
    wanted = ("--users", "5", "--rate", "100", "--duration", "20s", "--seed", "7")
    process = simulate(tmp_path, *wanted, "--url", store.url)
    code, output = ended(process)
    assert code == 0, output
    assert "Simulating 5 visitors at http://127.0.0.1:" in output
    assert "for 20 s, an event about every 100 ms each (seed 7)." in output
    assert re.search(r"^5 s · running · 5 visitors · Events: \d+ sent", output, re.MULTILINE)
    assert "Every expected pattern was seen, and nothing else." in output, output
    events = re.search(r"^Events: ([\d,]+) sent, ([\d,]+) accepted, 0 refused\.$", output, re.M)
    assert events, output
    assert events[1] == events[2]
    for scenario in SCENARIOS:
        journeys, _, expected, seen, missed, unexpected = row(output, scenario.name)
        assert journeys >= 1
        assert (expected > 0) == bool(scenario.expects)
        assert (seen, missed, unexpected) == (expected, 0, 0)
    assert row(output, "all")[4:] == [0, 0]
    assert store.get("/api/stats")["total_events"] == int(events[1].replace(",", ""))


def test_ctrl_c_ends_a_run_without_duration_with_its_summary(store: Server, tmp_path: Path) -> None:
    process = simulate(tmp_path, "--users", "3", "--rate", "50", "--url", store.url)
    assert process.stdout is not None
    first = process.stdout.readline()
    assert "until Ctrl-C" in first
    assert "running" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    code, output = ended(process, timeout=40)
    assert code == 0
    assert "Simulation over after" in output
    assert row(output, "all")[4:] == [0, 0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_skips_the_wait(tmp_path: Path, number: signal.Signals) -> None:
    process = simulate(tmp_path, "--rate", "20", "--url", f"http://127.0.0.1:{free_port()}")
    assert process.stdout is not None
    process.stdout.readline()
    while "running" not in process.stdout.readline():
        pass
    began = time.monotonic()
    process.send_signal(number)
    time.sleep(0.2)  # two signals at once are one
    process.send_signal(number)
    code, output = ended(process, timeout=20)
    assert time.monotonic() - began < 3
    assert code == 1
    assert "The server was never reached: the server is away (Connection refused)." in output


def test_a_server_that_is_never_there_is_said_and_the_exit_code_is_1(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    process = simulate(tmp_path, "--users", "2", "--rate", "20", "--duration", "1s", "--url", url)
    code, output = ended(process)
    assert code == 1
    assert re.search(r"Events: \d+ sent, 0 accepted, 0 refused, \d+ without an answer\.", output)
    assert "The server was never reached: the server is away (Connection refused)." in output
    assert re.search(r"\d+ requests got no answer or were put off", output)


def test_a_server_that_goes_away_in_a_run_gets_every_event_when_it_is_back(
    server: Server, tmp_path: Path
) -> None:
    wanted = ("--users", "3", "--rate", "100", "--duration", "12s", "--url", server.url)
    process = simulate(tmp_path, *wanted)
    assert process.stdout is not None
    process.stdout.readline()
    server.wait_for("/api/stats", lambda stats: stats["total_events"] > 20)
    server.stop()
    while "the server is away (Connection refused); trying again" not in (
        line := process.stdout.readline()
    ):
        assert "running" in line
    server.start()
    process.send_signal(signal.SIGINT)
    code, output = ended(process)
    assert code == 0
    events = re.search(r"^Events: ([\d,]+) sent, ([\d,]+) accepted, 0 refused\.$", output, re.M)
    assert events, output
    assert events[1] == events[2]
    assert "got no answer or were put off, and were tried again" in output


def test_a_key_that_no_site_has_is_refused_with_the_servers_words(
    store: Server, tmp_path: Path
) -> None:
    wanted = ("--users", "2", "--rate", "20", "--duration", "1s", "--site", "nobody")
    code, output = ended(simulate(tmp_path, *wanted, "--url", store.url))
    assert code == 1
    assert "The server accepted nothing." in output
    assert "401 unknown_key: " in output


def test_a_terminal_gets_a_live_table_and_the_summary(store: Server, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    wanted = ("--users", "5", "--rate", "50", "--duration", "2s", "--seed", "1")
    process = simulate(tmp_path, *wanted, "--url", store.url, terminal=theirs)
    os.close(theirs)
    screen = b""
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 1)[0]:
                continue
            try:
                screen += os.read(ours, 65_536)
            except OSError:  # how Linux says that the other end is closed
                break
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.decode())
    assert "Running · 1 s of 2 s · 5 visitors · Events: " in shown
    assert "To come" in shown
    assert "Ctrl-C to stop" in shown
    assert "Missed" in shown
    assert "Every expected pattern was seen, and nothing else." in shown


def test_a_visitor_of_one_run_is_never_one_of_another() -> None:
    one, other = (Options("http://x", seed=7, run=run) for run in ("aaaa", "bbbb"))
    ids = {visitor_id(options, slot, 0) for options in (one, other) for slot in range(100)}
    assert len(ids) == 200
    assert visitor_id(one, 3, 1) == visitor_id(one, 3, 1)


# --- the summary ----------------------------------------------------------------------


def booked(ledger: Ledger, scenario_index: int, action: str = "idle") -> Journey:
    scenario = SCENARIOS[scenario_index]
    journey = ledger.begin(f"u{scenario_index}", scenario)
    ledger.recorded += 1
    ledger.sent += 1
    expects = next(iter(scenario.expects), "")
    ledger.accept([Outgoing(journey, Step(1, action, "/home", {}, expects), {})], now=0)
    ledger.reached = True
    return journey


def summary(ledger: Ledger) -> str:
    run = Run(Options("http://x", seed=7, run="abc"))
    run.ledger = ledger
    return report.text(report.summary(run))


def seen(user_id: str, type_: str) -> dict[str, str]:
    return {
        "pattern_id": f"p-{user_id}",
        "type": type_,
        "severity": "low",
        "explanation": "Words with [bold]brackets[/bold].",
        "user_id": user_id,
    }


def test_the_summary_counts_per_scenario_and_names_what_was_not_as_expected() -> None:
    ledger = Ledger()
    booked(ledger, 0)
    booked(ledger, 1)
    booked(ledger, 2)
    ledger.sight(seen("u0", "hesitation"))
    ledger.sight(seen("u1", "hesitation"))
    told = summary(ledger)
    assert "Events: 3 sent, 3 accepted, 0 refused." in told
    assert row(told, "normal browse") == [1, 0, 0, 0, 0, 1]
    assert row(told, "hesitation") == [1, 0, 1, 1, 0, 0]
    assert row(told, "navigation loop") == [1, 0, 1, 0, 1, 0]
    assert row(told, "all") == [3, 0, 2, 1, 1, 1]
    assert "1 expected pattern not seen, 1 unexpected pattern seen." in told
    example = (
        "unexpected in normal browse: hesitation (low) p-u0: Words with [bold]brackets[/bold]."
    )
    assert example in told


def test_the_summary_says_where_patterns_could_not_be_read() -> None:
    ledger = Ledger()
    booked(ledger, 1)
    ledger.blind = "/api/patterns answers 401"
    told = summary(ledger)
    assert "Which patterns were seen is not known: /api/patterns answers 401." in told
    assert re.search(r"^ hesitation +1 +0 +1 +\? +\? +\?$", told, re.MULTILINE)


def test_a_run_that_expected_nothing_and_saw_nothing() -> None:
    ledger = Ledger()
    booked(ledger, 0)
    assert "No pattern was expected, and nothing else." not in summary(ledger)
    assert "No pattern was expected, and none was seen." in summary(ledger)


def test_refusals_are_listed_by_how_often_they_came() -> None:
    ledger = Ledger()
    journey = ledger.begin("a", BROWSE)
    item = Outgoing(journey, Step(1, "scroll", "/home"), {})
    ledger.recorded = ledger.sent = 3
    ledger.reached = True
    ledger.refuse([item], "400 invalid: rare")
    ledger.refuse([item, item], "403 origin: often")
    told = summary(ledger)
    assert told.index("refused, 2 times: 403 origin: often") < told.index("400 invalid: rare")
    assert "The server accepted nothing." in told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3_599, "59 min 59 s"), (3_725, "1 h 2 min")],
)
def test_times_are_told_in_words(seconds: float, told: str) -> None:
    assert report.clock(seconds) == told
