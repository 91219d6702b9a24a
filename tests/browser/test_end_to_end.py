"""The product as its people meet it: a shopper in Verse, a colleague at the dashboard.

A real Chromium, a real Daphne, a real database; time is real as well, so these take as long
as a visitor takes to hesitate. One server serves them all, and each shopper is a profile of
their own.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.contrib.admin.utils import quote
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.server import Server, manage

# Short enough to wait for, long enough that going to the next page is not leaving.
GRACE_S = 4
SHORTLY = 5_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("shop")
    with Server(folder, migrated, BL_LEAVE_GRACE=str(GRACE_S)) as running:
        yield running


NewContext = Callable[..., BrowserContext]


@pytest.fixture
def dashboard(shop: Server, new_context: NewContext) -> Page:
    return open_dashboard(shop, new_context)


def open_dashboard(shop: Server, new_context: NewContext, query: str = "") -> Page:
    page = new_context().new_page()
    page.goto(f"{shop.url}/{query}")
    expect(page.locator(".connection")).to_have_attribute("data-state", "live")
    return page


class Shopper:
    """A visitor with a tab open in Verse."""

    def __init__(self, shop: Server, new_context: NewContext) -> None:
        self._url = f"{shop.url}/demo"
        self.tab = new_context().new_page()
        self.go("/home")
        self.id = str(self.tab.evaluate("lens.visitor"))

    def go(self, path: str) -> None:
        self.tab.goto(self._url + path)

    def to_checkout(self) -> None:
        self.go("/products")
        self.tab.locator("main a[href*='/demo/product/']").first.click()
        self.tab.get_by_role("button", name="Add to cart").click()
        self.go("/cart")
        self.go("/checkout")

    def to_payment(self) -> None:
        self.to_checkout()
        fill = {
            "name": "Ada Reader",
            "email": "ada@example.com",
            "line1": "1 Paper Lane",
            "city": "Bath",
            "postcode": "BA1 1AA",
        }
        for name, value in fill.items():
            self.tab.locator(f"input[name={name}]").fill(value)
        self.tab.locator("main form button[type=submit]").click()
        self.tab.wait_for_url("**/demo/payment")

    def pay(self) -> None:
        fill = {
            "name_on_card": "A Reader",
            "number": "4242 4242 4242 4242",
            "expiry": "12/40",
            "cvc": "123",
        }
        for name, value in fill.items():
            self.tab.locator(f"input[name={name}]").fill(value)
        self.tab.get_by_role("button", name="Pay").click()
        self.tab.wait_for_url("**/demo/confirm*")


@pytest.fixture
def shopper(shop: Server, new_context: NewContext) -> Shopper:
    return Shopper(shop, new_context)


def rows(dashboard: Page, visitor: str, type: str = "") -> Locator:
    kind = f"[data-type='{type}']" if type else ""
    return dashboard.locator(f"#feed .pattern{kind}[data-search*='{visitor}']")


def heard(shop: Server, visitor: str, action: str, page: str) -> None:
    """Wait until the engine has been told of it."""
    shop.wait_for(
        f"/events?user_id={visitor}",
        lambda said: any(
            event["action"] == action and event["page"] == page
            for event in said
            if isinstance(said, list)
        ),
    )


def patterns(shop: Server, visitor: str) -> list[str]:
    return [pattern["type"] for pattern in shop.get(f"/api/patterns?user={visitor}")]


def test_hesitation_on_checkout_appears_and_rises_in_the_same_row(
    dashboard: Page, shopper: Shopper
) -> None:
    shopper.to_checkout()
    row = rows(dashboard, shopper.id, "hesitation")
    expect(row).to_have_attribute("data-severity", "low", timeout=13_000)
    assert "/checkout" in row.inner_text()
    assert "10 seconds" in row.inner_text()
    identity = row.get_attribute("data-pattern-id")
    expect(row).to_have_attribute("data-severity", "medium", timeout=13_000)
    expect(row).to_have_count(1)
    assert row.get_attribute("data-pattern-id") == identity
    assert "20 seconds" in row.inner_text()


def test_bouncing_between_products_and_search_is_a_loop(dashboard: Page, shopper: Shopper) -> None:
    for path in ("/products", "/search?q=lamp", "/products", "/search?q=light", "/products"):
        shopper.go(path)
    row = rows(dashboard, shopper.id, "navigation-loop")
    expect(row).to_have_count(1, timeout=SHORTLY)
    text = row.inner_text()
    assert "/products" in text
    assert "/search" in text


def test_walking_away_from_payment_by_the_logo_is_abandonment(
    dashboard: Page, shopper: Shopper
) -> None:
    shopper.to_payment()
    shopper.tab.locator("a.logo").click()
    row = rows(dashboard, shopper.id, "abandonment")
    expect(row).to_have_attribute("data-severity", "high", timeout=SHORTLY)
    assert "/payment" in row.inner_text()
    assert "/home" in row.inner_text()


def test_closing_the_tab_on_payment_is_abandonment(
    dashboard: Page, shop: Server, shopper: Shopper
) -> None:
    shopper.to_payment()
    heard(shop, shopper.id, "navigate", "/payment")
    shopper.tab.close(run_before_unload=True)
    row = rows(dashboard, shopper.id, "abandonment")
    expect(row).to_have_attribute("data-severity", "high", timeout=GRACE_S * 1000 + SHORTLY)
    assert "/payment" in row.inner_text()


def test_coming_back_to_buy_recovers_the_abandonment(dashboard: Page, shopper: Shopper) -> None:
    shopper.to_payment()
    shopper.tab.locator("a.logo").click()
    row = rows(dashboard, shopper.id, "abandonment")
    expect(row).to_have_attribute("data-state", "open", timeout=SHORTLY)
    shopper.go("/payment")
    shopper.pay()
    expect(row).to_have_attribute("data-state", "recovered", timeout=SHORTLY)
    expect(row).to_have_count(1)
    expect(row).to_contain_text("Recovered")


def test_a_straight_purchase_raises_nothing(
    dashboard: Page, shop: Server, shopper: Shopper
) -> None:
    shopper.to_payment()
    shopper.pay()
    heard(shop, shopper.id, "navigate", "/confirm")
    dashboard.wait_for_timeout(GRACE_S * 1000 + 1000)  # past the time at which leaving would count
    assert patterns(shop, shopper.id) == []
    expect(rows(dashboard, shopper.id)).to_have_count(0)


def test_six_products_in_a_row_from_the_list_raise_nothing(
    dashboard: Page, shop: Server, shopper: Shopper
) -> None:
    shopper.go("/products")
    links = shopper.tab.locator("main a[href*='/demo/product/']")
    seen = list(dict.fromkeys(link.get_attribute("href") or "" for link in links.all()))[:6]
    assert len(seen) == 6
    for href in seen:
        shopper.tab.locator(f"main a[href='{href}']").first.click()
        shopper.tab.wait_for_url(f"**{href}")
        shopper.tab.go_back()
        shopper.tab.wait_for_url("**/demo/products")
    heard(shop, shopper.id, "navigate", seen[-1].removeprefix("/demo"))
    # The last event is the sixth return to the list, so all before it has been seen.
    shop.wait_for(
        f"/events?user_id={shopper.id}",
        lambda said: [e["page"] for e in said if e["action"] == "navigate"].count("/products") == 7,
    )
    assert patterns(shop, shopper.id) == []
    expect(rows(dashboard, shopper.id)).to_have_count(0)


def test_two_dashboards_stay_in_step(
    dashboard: Page, shop: Server, shopper: Shopper, new_context: NewContext
) -> None:
    other = open_dashboard(shop, new_context)
    for path in ("/products", "/search", "/products", "/search", "/products"):
        shopper.go(path)
    here, there = rows(dashboard, shopper.id), rows(other, shopper.id)
    expect(here).to_have_attribute("data-state", "open", timeout=SHORTLY)
    expect(there).to_have_attribute("data-state", "open", timeout=SHORTLY)
    here.get_by_role("button", name="Resolve").click()
    expect(here).to_have_attribute("data-state", "resolved", timeout=SHORTLY)
    expect(there).to_have_attribute("data-state", "resolved", timeout=SHORTLY)
    there.get_by_role("button", name="Reopen").click()
    expect(here).to_have_attribute("data-state", "open", timeout=SHORTLY)


def test_filters_hold_for_rows_that_arrive_later(
    dashboard: Page, shop: Server, new_context: NewContext
) -> None:
    filtered = open_dashboard(shop, new_context, "?type=abandonment")
    shopper = Shopper(shop, new_context)
    for path in ("/products", "/search", "/products", "/search", "/products"):
        shopper.go(path)
    expect(rows(dashboard, shopper.id, "navigation-loop")).to_have_count(1, timeout=SHORTLY)
    # The pinned alert knows no filter, so it tells when the row has passed by.
    expect(filtered.locator("#latest")).to_contain_text("/search", timeout=SHORTLY)
    expect(rows(filtered, shopper.id)).to_have_count(0)


def test_a_chosen_visitors_window_is_live(
    shop: Server, shopper: Shopper, new_context: NewContext
) -> None:
    watcher = open_dashboard(shop, new_context, f"?visitor={shopper.id}")
    panel = watcher.locator("#visitor")
    expect(panel).to_contain_text("/home", timeout=SHORTLY)
    shopper.go("/search?q=lamp")
    expect(panel).to_contain_text("/search", timeout=SHORTLY)


def test_a_restart_costs_an_open_dashboard_nothing(
    tmp_path: Path, migrated: Path, new_context: NewContext
) -> None:
    with Server(tmp_path, migrated) as server:
        dashboard = open_dashboard(server, new_context)
        loop(server, "before")
        expect(rows(dashboard, "before")).to_have_count(1, timeout=SHORTLY)
        server.stop()
        expect(dashboard.locator(".connection")).to_have_attribute(
            "data-state", "lost", timeout=SHORTLY
        )
        server.start()
        loop(server, "during")  # detected before the dashboard is back
        expect(dashboard.locator(".connection")).to_have_attribute(
            "data-state", "live", timeout=20_000
        )
        loop(server, "after")
        for visitor in ("before", "during", "after"):
            expect(rows(dashboard, visitor)).to_have_count(1, timeout=SHORTLY)


def loop(server: Server, visitor: str) -> None:
    """A navigation loop without a browser."""
    events = [
        {"user_id": visitor, "action": "navigate", "page": page, "timestamp": 1}
        for page in ("/a", "/b", "/a", "/b", "/a")
    ]
    assert server.post(events)[0] == 202


def test_no_page_breaks_its_own_content_security_policy(
    shop: Server, new_context: NewContext
) -> None:
    loop(shop, "<script>alert(1)</script>")
    found = shop.wait_for("/api/patterns?user=%3Cscript%3Ealert(1)%3C/script%3E", bool)[0]
    password = re.search(r"password: (\S+)", manage(shop.database, "bootstrap").stdout)
    assert password
    page = new_context().new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    page.goto(f"{shop.url}/admin/")
    page.locator("#id_username").fill("admin")
    page.locator("#id_password").fill(password[1])
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/admin/")
    admin = "/admin/detection"
    for path in (
        "/",
        f"/?q={found['pattern_id']}",
        "/demo/home",
        "/demo/products",
        "/demo/search?q=<b>",
        "/demo/nothing-here",
        "/admin/",
        f"{admin}/pattern/",
        f"{admin}/pattern/{quote(found['pattern_id'])}/change/",
        f"{admin}/patternchange/",
        f"{admin}/site/1/change/",
        "/api/docs",
    ):
        answer = page.goto(shop.url + path, wait_until="load")
        assert answer is not None
        assert answer.status == (404 if "nothing-here" in path else 200), path
        assert "unsafe" not in (answer.header_value("Content-Security-Policy") or "unsafe")
    expect(page.locator("#swagger-ui")).to_contain_text("/api/patterns", timeout=10_000)
    quiet = ("info", "log", "debug")
    missing = "error: Failed to load resource: the server responded with a status of 404"
    assert [line for line in said if not line.startswith((*quiet, missing))] == []
    assert [url for url in asked if not url.startswith((shop.url, "data:"))] == []
