"""What each scenario plays, and what the real engine says to it, over many seeds."""

import json
import random
from pathlib import Path

import pytest

from demo_store.simulator.scenarios import (
    ABANDONMENT,
    HESITATION,
    NAVIGATION_LOOP,
    PRODUCTS,
    SCENARIOS,
    Scenario,
    Step,
    cast,
)
from detection.engine.engine import Engine
from detection.engine.events import ACTIONS, Event
from detection.engine.patterns import Change, ChangeKind

SEEDS = range(200)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
START = 1_800_000_000_000
LATER = 45 * 60_000  # past every deadline of the engine
EVERY_SCENARIO = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)


def journey(scenario: Scenario, seed: int, mean_gap_ms: float = 500) -> list[Step]:
    return list(scenario.steps(random.Random(f"{seed}:0:0"), mean_gap_ms))


def watch(steps: list[Step], until: int | None = None) -> list[Change]:
    """What the engine says to a visitor who plays `steps`, with half a second to arrive."""
    engine, now, view = Engine(), START, 0
    changes: list[Change] = []
    for step in steps[:until]:
        now += step.wait_ms
        view += step.action == "navigate"
        metadata = {key: str(value) for key, value in step.metadata.items()}
        event = Event(1, "sim-1", step.action, step.page, now, str(view), metadata)
        changes += engine.observe(event, now + 500)
    if until is None:
        changes += engine.advance(now + LATER)
    return changes


def opened(changes: list[Change]) -> list[str]:
    return [change.pattern.type for change in changes if change.kind is ChangeKind.OPENED]


def test_the_five_scenarios_and_what_each_must_show() -> None:
    assert {scenario.name: set(scenario.expects) for scenario in SCENARIOS} == {
        "normal browse": set(),
        "hesitation": {HESITATION},
        "navigation loop": {NAVIGATION_LOOP},
        "checkout abandonment": {ABANDONMENT},
        "full purchase": set(),
    }


@EVERY_SCENARIO
@pytest.mark.parametrize("mean_gap_ms", [1, 500, 10_000])
def test_the_engine_sees_just_what_the_scenario_expects(
    scenario: Scenario, mean_gap_ms: int
) -> None:
    surprises = {
        seed: found
        for seed in SEEDS
        if (found := opened(watch(journey(scenario, seed, mean_gap_ms))))
        != sorted(scenario.expects)
    }
    assert surprises == {}


@EVERY_SCENARIO
def test_the_step_that_names_a_pattern_is_the_one_that_completes_it(scenario: Scenario) -> None:
    for seed in SEEDS:
        steps = journey(scenario, seed)
        naming = [index for index, step in enumerate(steps) if step.expects]
        assert {steps[index].expects for index in naming} == scenario.expects
        for index in naming:
            assert opened(watch(steps, until=index)) == []
            if steps[index].action != "leave":
                assert opened(watch(steps, until=index + 1)) == [steps[index].expects]


@EVERY_SCENARIO
def test_a_journey_is_fit_for_the_wire_and_moves_as_a_browser_does(scenario: Scenario) -> None:
    for seed in SEEDS:
        steps = journey(scenario, seed)
        assert steps[0].action == "navigate"
        assert steps[-1].action == "leave"
        assert {step.action for step in steps} <= ACTIONS
        page = ""
        for step in steps:
            assert step.wait_ms >= 1
            assert step.page.startswith("/")
            if step.action == "navigate":
                assert step.page != page
                page = step.page
            assert step.page == page


@EVERY_SCENARIO
def test_the_same_seed_plays_the_same_journey(scenario: Scenario) -> None:
    assert journey(scenario, 7) == journey(scenario, 7)
    assert len({str(journey(scenario, seed)) for seed in range(20)}) == 20


@EVERY_SCENARIO
def test_the_rate_changes_the_gaps_and_nothing_else(scenario: Scenario) -> None:
    def without_gaps(steps: list[Step]) -> list[tuple[object, ...]]:
        return [(step.action, step.page, step.metadata, step.expects) for step in steps]

    assert without_gaps(journey(scenario, 3, 10)) == without_gaps(journey(scenario, 3, 9_000))


def test_gaps_keep_their_mean_and_their_bound() -> None:
    gaps = [
        step.wait_ms for seed in range(400) for step in journey(BY_NAME["normal browse"], seed, 800)
    ]
    assert sum(gaps) / len(gaps) == pytest.approx(800, rel=0.03)
    assert max(gaps) <= 800 * 4.1


def test_an_idle_spell_is_reported_at_each_mark_in_its_real_time() -> None:
    reached = set()
    for seed in SEEDS:
        steps = journey(BY_NAME["hesitation"], seed, 1)
        spell = [step for step in steps if step.action == "idle"]
        durations = [step.metadata["duration_ms"] for step in spell]
        assert durations == [10_000, 20_000, 40_000][: len(durations)]
        assert sum(step.wait_ms for step in spell) == durations[-1]
        after = steps[steps.index(spell[-1]) + 1]
        assert durations[-1] + after.wait_ms <= 45_010
        reached.add(durations[-1])
    assert reached == {10_000, 20_000, 40_000}


def test_every_way_out_of_the_checkout_is_played() -> None:
    ways = set()
    for seed in SEEDS:
        steps = journey(BY_NAME["checkout abandonment"], seed)
        ways.add(next(step.action for step in steps if step.expects))
    assert ways == {"navigate", "abandon", "leave"}


def test_the_products_are_in_verses_catalogue() -> None:
    fixture = Path(__file__).parent.parent / "demo_store" / "fixtures" / "verse.json"
    slugs = {row["fields"].get("slug") for row in json.loads(fixture.read_text())}
    assert set(PRODUCTS) <= slugs


@pytest.mark.parametrize("users", [5, 7, 100])
def test_five_visitors_or_more_start_with_all_scenarios_at_once(users: int) -> None:
    first = [cast(random.Random(slot), users, slot, 0) for slot in range(users)]
    assert set(first) == set(SCENARIOS)


@pytest.mark.parametrize("users", [1, 2, 3, 4])
def test_fewer_visitors_play_all_scenarios_in_their_first_journeys(users: int) -> None:
    turns = -(-len(SCENARIOS) // users)
    first = {
        cast(random.Random(slot), users, slot, turn)
        for slot in range(users)
        for turn in range(turns)
    }
    assert first == set(SCENARIOS)


def test_later_journeys_are_drawn_by_weight() -> None:
    rng = random.Random(1)
    drawn = [cast(rng, 10, 0, turn).name for turn in range(1, 2_001)]
    for scenario in SCENARIOS:
        assert drawn.count(scenario.name) == pytest.approx(20 * scenario.weight, rel=0.15)
