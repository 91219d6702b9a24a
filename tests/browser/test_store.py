"""Verse in a real browser: the bar at its foot, choices that colour a drawing, small screens."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.server import Server

NewContext = Callable[..., BrowserContext]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("verse"), migrated) as running:
        yield running


@pytest.fixture
def tab(shop: Server, new_context: NewContext) -> Page:
    page = new_context().new_page()
    page.goto(f"{shop.url}/demo/home")
    return page


def part(name: str) -> str:
    return f'#lens-bar [data-bar="{name}"]'


def test_the_bar_says_who_where_what_and_whether_it_arrived(tab: Page) -> None:
    expect(tab.locator("#lens-bar")).to_have_attribute("data-state", "sent")
    expect(tab.locator(part("visitor"))).to_have_text(tab.evaluate("lens.visitor"))
    expect(tab.locator(part("page"))).to_have_text("/home")
    expect(tab.locator(part("event"))).to_have_text("navigate")
    tab.locator("h1").click()
    expect(tab.locator(part("event"))).to_have_text("click")


def test_the_bar_leads_to_this_visitor_on_the_dashboard(tab: Page, shop: Server) -> None:
    visitor = tab.evaluate("lens.visitor")
    link = tab.locator(part("dashboard"))
    expect(link).to_have_attribute("href", f"{shop.url}/?visitor={visitor}")


def test_a_click_on_the_bar_is_no_event(tab: Page) -> None:
    expect(tab.locator(part("event"))).to_have_text("navigate")
    tab.evaluate(
        "document.addEventListener('lens:event', (e) => { window.seen = e.detail.action })"
    )
    tab.locator(part("page")).click()
    assert tab.evaluate("window.seen") is None


def test_the_bar_says_when_the_tracker_is_switched_off(tab: Page) -> None:
    tab.evaluate("lens.exclude()")
    tab.locator("h1").click()
    expect(tab.locator(part("state"))).to_have_text("Switched off in this browser")
    tab.reload()
    expect(tab.locator(part("state"))).to_have_text("Switched off in this browser")


def test_the_bar_says_when_the_tracker_is_missing(shop: Server, new_context: NewContext) -> None:
    page = new_context().new_page()
    page.route("**/lens.js", lambda route: route.abort())
    page.goto(f"{shop.url}/demo/home")
    expect(page.locator(part("state"))).to_have_text("The tracker did not load")


def test_the_bar_says_when_events_do_not_arrive(shop: Server, new_context: NewContext) -> None:
    page = new_context().new_page()
    page.route("**/events", lambda route: route.abort())
    page.goto(f"{shop.url}/demo/home")
    expect(page.locator(part("state"))).to_have_text("Not arrived, trying again")


def test_the_bar_tells_an_automated_browser(shop: Server, launch: Callable[..., Browser]) -> None:
    browser = launch()
    page = browser.new_page()
    page.goto(f"{shop.url}/demo/home")
    expect(page.locator(part("state"))).to_have_text("Automated browser, not counted")
    browser.close()


def test_a_chosen_colour_colours_the_drawing(tab: Page, shop: Server) -> None:
    tab.goto(f"{shop.url}/demo/product/margin-notebook")
    drawn = "getComputedStyle(document.querySelector('.product-art .t')).fill"
    before = tab.evaluate(drawn)
    tab.get_by_role("radio", name="Plum").check(force=True)
    tab.wait_for_function(f"{drawn} !== '{before}'")


def test_a_purchase_without_a_mouse(tab: Page, shop: Server) -> None:
    tab.goto(f"{shop.url}/demo/product/week-pad")
    tab.get_by_role("button", name="Add to cart").press("Enter")
    tab.get_by_role("link", name="Go to checkout").press("Enter")
    for label, text in {
        "Full name": "Ada Long",
        "E-mail": "ada@example.com",
        "Address": "12 Harbour Row",
        "Town or city": "Bristol",
        "Postcode": "BS1 4RN",
    }.items():
        tab.get_by_label(label, exact=True).fill(text)
    tab.get_by_label("Postcode").press("Enter")
    tab.get_by_label("Name on card").fill("Ada Long")
    tab.get_by_label("Card number").fill("4242 4242 4242 4242")
    tab.get_by_label("Expires").fill("07/32")
    tab.get_by_label("Security code").fill("123")
    tab.get_by_label("Security code").press("Enter")
    expect(tab).to_have_url(re.compile("/demo/confirm$"))
    expect(tab.locator("h1")).to_contain_text("Thank you")
    expect(tab.locator(part("page"))).to_have_text("/confirm")


@pytest.mark.parametrize("path", ["/home", "/products", "/product/tern-fountain-pen", "/cart"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_of_a_phone_and_nothing_is_blocked(
    shop: Server, new_context: NewContext, path: str, scheme: str
) -> None:
    context = new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{shop.url}/demo{path}")
    expect(page.locator("#lens-bar")).to_have_attribute("data-state", "sent")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert problems == []
