"""GET /visitor: the chosen visitor's window."""

from collections.abc import Callable
from urllib.parse import quote

import pytest
from django.test import Client

from detection.engine.snapshots import VisitorWindow
from tests.dashboard.conftest import Windows
from tests.dashboard.markup import Markup

Window = Callable[..., VisitorWindow]
ODD = ["a/b/c", "ü 🙂", "\"'<b>&", "?visitor=x#y", "%2F", "..", "x" * 128]


def panel(client: Client, query: str) -> Markup:
    response = client.get(f"/visitor{query}")
    assert response.status_code == 200
    return Markup(response.content.decode())


def test_it_shows_the_window_newest_first(
    fragments: Client, windows: Windows, window: Window
) -> None:
    windows["v"] = window("v", ("navigate", "/cart"), ("click", "/cart"), ("idle", "/checkout"))
    shown = panel(fragments, "?visitor=v")
    assert [e["data-action"] for e in shown.all("li", class_="event")] == [
        "idle",
        "click",
        "navigate",
    ]
    assert "3 events" in shown.text


def test_it_says_who_where_and_whether_they_look(
    fragments: Client, windows: Windows, window: Window
) -> None:
    windows["v"] = window("v", ("navigate", "/cart"), identified="anna@example.org", hidden=True)
    text = panel(fragments, "?visitor=v").text
    for words in ("anna@example.org", "/cart", "hidden", "1 event"):
        assert words in text


@pytest.mark.parametrize("user_id", ODD)
def test_ids_hold_any_character(
    fragments: Client, board: Client, windows: Windows, window: Window, user_id: str
) -> None:
    windows[user_id] = window(user_id, ("navigate", "/cart"))
    query = f"?visitor={quote(user_id, safe='')}"
    for page in (panel(fragments, query), Markup(board.get(f"/{query}").content.decode())):
        box = page.all("div", class_="panel")[0]
        assert box["data-visitor"] == user_id
        assert page.all("li", class_="event")
        again = fragments.get(str(box["hx-get"]))
        assert again.status_code == 204


def test_a_panel_that_has_it_all_is_told_nothing(
    fragments: Client, windows: Windows, window: Window
) -> None:
    windows["v"] = window("v", ("navigate", "/cart"))
    url = str(panel(fragments, "?visitor=v").all("div", class_="panel")[0]["hx-get"])
    assert fragments.get(url).status_code == 204
    windows["v"] = window("v", ("navigate", "/cart"), ("click", "/cart"))
    fresh = fragments.get(url)
    assert fresh.status_code == 200
    assert "HX-Push-Url" not in fresh


@pytest.mark.usefixtures("windows")
def test_an_unknown_visitor_is_said_to_be_silent(fragments: Client) -> None:
    assert "Nothing was heard" in panel(fragments, "?visitor=nobody").text


def test_without_an_engine_it_says_so(fragments: Client) -> None:
    assert "the live engine does not answer" in panel(fragments, "?visitor=v").text


@pytest.mark.parametrize("query", ["", "?visitor=", "?visitor=%00"])
def test_nobody_chosen_is_no_panel(fragments: Client, query: str) -> None:
    assert panel(fragments, query).text.strip() == ""


@pytest.mark.usefixtures("windows")
def test_choosing_keeps_the_filters_in_the_address(fragments: Client) -> None:
    here = {"HX-Current-URL": "http://testserver/?severity=high&q=a%20b&visitor=old"}
    response = fragments.get("/visitor?visitor=a%2Fb", headers=here)
    assert response["HX-Push-Url"] == "/?severity=high&q=a+b&visitor=a%2Fb"
    closed = fragments.get("/visitor", headers=here)
    assert closed["HX-Push-Url"] == "/?severity=high&q=a+b"
