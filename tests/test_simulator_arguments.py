"""The command line of `simulate`: what it understands, and what it says where it does not."""

from argparse import ArgumentTypeError

import pytest
from django.core.management import CommandError, call_command

from demo_store.simulator import arguments


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("3m", 180), ("1h", 3600), ("500ms", 0.5), ("1h30m", 5400), ("1.5m", 90)],
)
def test_durations(text: str, seconds: float) -> None:
    assert arguments.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "m", "3 m", "-3m", "3d", "3m!", "1.2.3s", "nans"])
def test_a_duration_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="not a duration; write 90s, 3m, 1h30m or 500ms"):
        arguments.duration(text)


def test_a_duration_of_nothing_is_refused() -> None:
    with pytest.raises(ArgumentTypeError, match="no time at all"):
        arguments.duration("0s")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("https://lens.example/", "https://lens.example"),
        ("http://[::1]:9/under/", "http://[::1]:9/under"),
    ],
)
def test_urls(text: str, url: str) -> None:
    assert arguments.url(text) == url


@pytest.mark.parametrize(
    "text",
    ["", "localhost:8000", "ftp://x", "http://", "http://x:y", "http://x?a=1", "http://x#a"],
)
def test_a_url_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="not a server's address"):
        arguments.url(text)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--users", "0", "'0' is not a whole number from 1 to 5000 (visitors)"),
        ("--users", "5001", "'5001' is not a whole number from 1 to 5000 (visitors)"),
        ("--users", "many", "'many' is not a whole number"),
        ("--rate", "0", "'0' is not a whole number from 1 to 10000 (ms between"),
        ("--rate", "1.5", "'1.5' is not a whole number"),
        ("--rate", "10001", "'10001' is not a whole number"),
        ("--duration", "soon", "'soon' is not a duration"),
        ("--url", "shop", "'shop' is not a server's address"),
        ("--seed", "x", "invalid int value"),
    ],
)
def test_the_command_names_the_option_and_what_is_wrong(
    option: str, value: str, message: str
) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("simulate", f"{option}={value}")
    assert f"argument {option}: " in str(refused.value)
    assert message in str(refused.value)


def test_both_ends_of_the_ranges_are_taken() -> None:
    assert (arguments.users("1"), arguments.users("5000")) == (1, 5000)
    assert (arguments.rate("1"), arguments.rate("10000")) == (1, 10000)
