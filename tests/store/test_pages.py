"""What holds for every page of the shop: policy, tracker, bar, structure."""

import re
from html.parser import HTMLParser

import pytest

from tests.store.conftest import Shopper

# Attributes that name an address which the browser fetches by itself.
FETCHED = {"src", "srcset", "data", "poster"}


class Page(HTMLParser):
    """A rendered page as its tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []
        self._open = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data: str) -> None:
        if self._open in {"script", "style"} and data.strip():
            self.inline.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def pages_of(shopper: Shopper) -> dict[str, str]:
    """Every page and state of the shop, by name."""
    pages = {
        "home": shopper.get("/home"),
        "products": shopper.get("/products"),
        "category": shopper.get("/products?category=tea"),
        "product": shopper.get("/product/margin-notebook"),
        "plain product": shopper.get("/product/week-pad"),
        "search": shopper.get("/search?q=lamp"),
        "empty search": shopper.get("/search"),
        "no result": shopper.get("/search?q=zebra"),
        "not found": shopper.get("/product/none"),
        "empty cart": shopper.get("/cart"),
    }
    shopper.add("margin-notebook")
    pages["cart"] = shopper.get("/cart")
    pages["checkout"] = shopper.get("/checkout")
    pages["checkout errors"] = shopper.post("/checkout", {})
    shopper.fill_in()
    pages["payment"] = shopper.get("/payment")
    pages["payment errors"] = shopper.post("/payment", {"number": "1"})
    shopper.pay()
    pages["confirm"] = shopper.get("/confirm")
    return {name: answer.content.decode() for name, answer in pages.items()}


@pytest.fixture
def pages(shopper: Shopper) -> dict[str, Page]:
    return {name: Page(html) for name, html in pages_of(shopper).items()}


def test_no_page_breaks_the_content_security_policy(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        assert page.inline == [], name
        assert not page.all("style"), name
        for tag, attrs in page.tags:
            assert "style" not in attrs, (name, tag)
            assert not [key for key in attrs if key.startswith("on")], (name, tag)


def test_nothing_is_fetched_from_another_host(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        fetched = [a[key] for _, a in page.tags for key in FETCHED if a.get(key)]
        fetched += [link["href"] for link in page.all("link")]
        assert [url for url in fetched if not (url or "").startswith("/")] == [], name
        assert [f["action"] for f in page.all("form") if "//" in (f.get("action") or "")] == [], (
            name
        )


def test_every_page_has_the_tracker_after_the_bar_that_listens_to_it(
    pages: dict[str, Page],
) -> None:
    for name, page in pages.items():
        scripts = page.all("script")
        sources = [str(script["src"]) for script in scripts]
        assert [source.split("/")[-1] for source in sources] == ["bar.js", "lens.js"], name
        assert scripts[1]["data-base"] == "/demo"
        assert all("defer" in script for script in scripts)


def test_every_page_has_the_bar_which_the_tracker_ignores(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        (bar,) = [a for a in page.all("aside") if a.get("id") == "lens-bar"]
        assert "data-ignore" in bar, name
        (link,) = [a for a in page.all("a") if a.get("data-bar") == "dashboard"]
        assert (link["href"], link["target"], link["rel"]) == ("/", "_blank", "noopener")


def test_every_page_has_one_heading_and_a_skip_link(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        assert len(page.all("h1")) == 1, name
        assert page.all("a")[0]["href"] == "#main", name
        assert page.all("main")[0]["id"] == "main", name
        assert page.all("html")[0]["lang"] == "en-GB", name


def test_no_id_is_given_twice(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        ids = [str(attrs["id"]) for _, attrs in page.tags if attrs.get("id")]
        assert sorted(ids) == sorted(set(ids)), name


def test_every_control_has_a_label(shopper: Shopper) -> None:
    for name, html in pages_of(shopper).items():
        page = Page(html)
        labelled = {label["for"] for label in page.all("label") if label.get("for")}
        for tag in ("input", "select"):
            for control in page.all(tag):
                if control.get("type") in {"hidden", "radio"}:
                    continue  # a radio stands within its label
                assert control.get("id") in labelled, (name, control)


def test_every_described_control_is_described(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        ids = {attrs["id"] for _, attrs in page.tags if attrs.get("id")}
        for _, attrs in page.tags:
            for described in (attrs.get("aria-describedby") or "").split():
                assert described in ids, (name, described)


def test_every_link_within_the_shop_leads_somewhere(shopper: Shopper) -> None:
    links = {
        str(link["href"])
        for html in pages_of(shopper).values()
        for link in Page(html).all("a")
        if str(link["href"]).startswith("/demo")
    }
    assert len(links) > 30
    for link in sorted(links):
        assert shopper.client.get(link).status_code in {200, 302}, link


def test_there_are_no_emoji(shopper: Shopper) -> None:
    for name, html in pages_of(shopper).items():
        assert not re.search("[\U0001f000-\U0001faff\u2600-\u27bf]", html), name


def test_the_policy_is_sent_with_the_page(shopper: Shopper) -> None:
    policy = shopper.get("/home")["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
