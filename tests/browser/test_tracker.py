"""The tracker in a real Chromium, against a real server that keeps what it is sent."""

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from detection.wire import decode
from tests.browser.collector import BODY, TAG, Collector
from tests.browser.conftest import AS_A_PERSON

TALL = '<main><h1>Tall</h1><div><svg width="10" height="4000"></svg></div></main>'
EARLY = TAG.replace(" defer", "")


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


def visit(page: Page, collector: Collector, path: str = "/shop", **kwargs: Any) -> None:
    """Open a page and wait until its navigate has arrived."""
    before = len(collector.of("navigate"))
    page.goto(collector.page(path, **kwargs))
    collector.wait_event("navigate", before + 1)


def wait_until(page: Page, expression: str, seconds: float = 8.0) -> Any:
    """What `expression` gives once it is true. (Playwright's own wait needs eval: CSP.)"""
    end = time.monotonic() + seconds
    while not (found := page.evaluate(expression)):
        assert time.monotonic() < end, f"not within {seconds} s: {expression}"
        time.sleep(0.02)
    return found


def status(page: Page) -> dict[str, Any]:
    return dict(page.evaluate("lens.status()"))


def set_hidden(page: Page, hidden: bool) -> None:
    """Hide or show the tab. Headless Chromium has no other tab to go to."""
    page.evaluate(
        """(hidden) => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
        }""",
        hidden,
    )


# --- pages ------------------------------------------------------------------------------
def test_a_load_sends_navigate_in_an_envelope(page: Page, collector: Collector) -> None:
    before = time.time() * 1000
    page.goto(collector.page("/shop") + "?q=secret#part")
    collector.wait_event("navigate")

    received = collector.received[0]
    envelope = received.envelope
    event = envelope["events"][0]
    assert set(envelope) == {"site", "batch", "sent_at", "events"}
    assert envelope["site"] == "k"
    assert 8 <= len(envelope["batch"]) <= 64
    assert before <= event["timestamp"] <= envelope["sent_at"] <= time.time() * 1000
    assert isinstance(event["timestamp"], int)
    assert event["page"] == "/shop"
    assert event["metadata"] == {}
    assert 1 <= len(event["view"]) <= 64
    assert event["user_id"] == page.evaluate("lens.visitor")
    assert page.evaluate("lens.page") == "/shop"
    assert received.headers["Content-Type"].startswith("text/plain")
    assert "Cookie" not in received.headers


@pytest.mark.parametrize(
    ("path", "expected"), [("/", "/"), ("/shop/", "/shop"), ("/a/b/", "/a/b"), ("/a?x=/b/", "/a")]
)
def test_page_is_a_path_without_trailing_slash(
    page: Page, collector: Collector, path: str, expected: str
) -> None:
    page.goto(collector.url + path)
    assert collector.wait_event("navigate")["page"] == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/demo", "/"), ("/demo/", "/"), ("/demo/cart", "/cart"), ("/demolition", "/demolition")],
)
def test_base_is_stripped_at_a_path_boundary(
    page: Page, collector: Collector, path: str, expected: str
) -> None:
    page.goto(collector.page(path, tag=TAG.replace(" defer", ' data-base="/demo/" defer')))
    assert collector.wait_event("navigate")["page"] == expected


def test_push_state_to_another_path_is_a_navigation(page: Page, collector: Collector) -> None:
    visit(page, collector)
    assert page.evaluate("history.pushState({a: 1}, '', '/cart')") is None
    collector.wait_event("navigate", 2)
    page.evaluate("history.replaceState(null, '', '/checkout')")
    collector.wait_event("navigate", 3)
    page.go_back()
    collector.wait_event("navigate", 4)

    assert [event["page"] for event in collector.of("navigate")] == [
        "/shop",
        "/cart",
        "/checkout",
        "/shop",
    ]
    assert len({event["view"] for event in collector.of("navigate")}) == 4
    assert len({event["user_id"] for event in collector.accepted}) == 1
    assert collector.of("leave") == []


def test_push_state_of_a_query_or_fragment_is_no_navigation(
    page: Page, collector: Collector
) -> None:
    visit(page, collector)
    page.evaluate("history.pushState(null, '', '/shop?page=2')")
    page.evaluate("history.replaceState(null, '', '/shop/#size')")
    page.evaluate("location.hash = 'other'")
    page.evaluate("history.pushState(null, '', '/cart')")
    collector.wait_event("navigate", 2)
    assert [event["page"] for event in collector.of("navigate")] == ["/shop", "/cart"]


def test_an_error_of_push_state_reaches_its_caller(page: Page, collector: Collector) -> None:
    visit(page, collector)
    assert page.evaluate(
        "() => { try { history.pushState(null, '', 'https://elsewhere.example/') } "
        "catch (error) { return error.name } }"
    ) in {"SecurityError", "DataCloneError"}
    assert page.evaluate("history.pushState({kept: 1}, '', '/cart'), history.state.kept") == 1


def test_a_change_that_bypasses_the_wrapper_is_seen_at_the_next_event(
    page: Page, collector: Collector
) -> None:
    kept = collector.script("/kept.js", "window.kept = history.pushState.bind(history);")
    visit(page, collector, tag=kept + TAG)
    page.evaluate("kept(null, '', '/cart')")
    page.click("h1")
    collector.wait_event("click")
    assert [(e["action"], e["page"]) for e in collector.accepted][1:] == [
        ("navigate", "/cart"),
        ("click", "/cart"),
    ]


def test_a_reload_is_a_navigation_of_the_same_visitor(page: Page, collector: Collector) -> None:
    visit(page, collector)
    page.reload()
    second = collector.wait_event("navigate", 2)
    first = collector.of("navigate")[0]
    assert first["user_id"] == second["user_id"]
    assert first["page"] == second["page"]
    assert first["view"] != second["view"]


def test_hash_routing_appends_the_fragment(page: Page, collector: Collector) -> None:
    tag = TAG.replace(" defer", " data-hash-routing defer")
    page.goto(collector.page("/app", tag=tag) + "#/cart?x=1")
    assert collector.wait_event("navigate")["page"] == "/app/cart"
    page.evaluate("location.hash = '#!/checkout/'")
    assert collector.wait_event("navigate", 2)["page"] == "/app/checkout"
    page.evaluate("location.hash = '#/checkout?step=2'")
    page.evaluate("location.hash = ''")
    assert collector.wait_event("navigate", 3)["page"] == "/app"


def test_back_from_the_back_forward_cache_is_a_new_view(
    launch: Callable[..., Browser], collector: Collector
) -> None:
    browser = launch(AS_A_PERSON, ignore_default_args=["--disable-back-forward-cache"])
    try:
        page = browser.new_page()
        page.goto(collector.page("/shop"))
        collector.wait_event("navigate")
        page.evaluate("window.kept = true")
        page.goto(collector.page("/cart"))
        collector.wait_event("navigate", 2)
        page.go_back(wait_until="commit")
        third = collector.wait_event("navigate", 3)
        assert page.evaluate("window.kept"), "the page came from the server, not the cache"
        page.click("h1")
        click = collector.wait_event("click")
    finally:
        browser.close()
    first = collector.of("navigate")[0]
    assert third["page"] == first["page"] == "/shop"
    assert third["view"] != first["view"]
    assert click["view"] == third["view"]
    assert len({event["user_id"] for event in collector.accepted}) == 1


# --- who --------------------------------------------------------------------------------
def test_the_visitor_stays_through_pages_of_a_tab(page: Page, collector: Collector) -> None:
    visit(page, collector)
    visitor = page.evaluate("lens.visitor")
    assert re.fullmatch(r"[0-9a-f-]{36}", visitor)
    page.click("#next")
    assert collector.wait_event("navigate", 2)["user_id"] == visitor


def test_another_tab_is_another_visitor(context: BrowserContext, collector: Collector) -> None:
    for number in (1, 2):
        context.new_page().goto(collector.page("/shop"))
        collector.wait_event("navigate", number)
    assert len({event["user_id"] for event in collector.of("navigate")}) == 2


@pytest.mark.parametrize("rel", ["", "opener", "noopener"])
def test_a_tab_opened_from_a_tab_is_another_visitor(
    page: Page, collector: Collector, rel: str
) -> None:
    body = f'<a id="out" href="/other" target="_blank" rel="{rel}">Open</a>'
    visit(page, collector, body=body)
    with page.expect_popup() as opened:
        page.click("#out")
    collector.wait_event("navigate", 2)
    visitor = page.evaluate("lens.visitor")
    assert opened.value.evaluate("lens.visitor") != visitor
    # Each keeps its own from then on.
    page.goto(collector.page("/cart"))
    assert collector.wait_event("navigate", 3)["user_id"] == visitor
    opened.value.reload()
    assert collector.wait_event("navigate", 4)["user_id"] == collector.of("navigate")[1]["user_id"]


def test_window_open_is_another_visitor(page: Page, collector: Collector) -> None:
    visit(page, collector)
    with page.expect_popup():
        page.evaluate("void window.open('/other')")
    assert collector.wait_event("navigate", 2)["user_id"] != page.evaluate("lens.visitor")


def test_a_frame_joins_the_visitor_of_its_tab(page: Page, collector: Collector) -> None:
    collector.page("/inner")
    visit(page, collector, body=BODY + '<iframe src="/inner"></iframe>')
    collector.wait_event("navigate", 2)
    page.reload()
    collector.wait_event("navigate", 4)
    page.goto(collector.page("/cart"))
    collector.wait_event("navigate", 5)
    top = [event for event in collector.of("navigate") if event["page"] != "/inner"]
    assert len({event["user_id"] for event in top}) == 1
    assert collector.of("navigate")[-1]["user_id"] == page.evaluate("lens.visitor")


def test_identify_is_sent_at_once(page: Page, collector: Collector) -> None:
    visit(page, collector)
    page.evaluate("lens.identify('customer-7')")
    assert collector.wait_event("identify")["metadata"] == {"id": "customer-7"}


def test_identify_without_an_id_is_refused(page: Page, collector: Collector) -> None:
    visit(page, collector)
    with page.expect_console_message() as said:
        page.evaluate("lens.identify(''); lens.identify(null); lens.identify('real')")
    collector.wait_event("identify")
    assert said.value.type == "warning"
    assert [event["metadata"]["id"] for event in collector.of("identify")] == ["real"]


def test_an_insecure_page_has_visitors_too(launch: Callable[..., Browser]) -> None:
    """crypto.randomUUID exists in secure contexts only."""
    browser = launch(AS_A_PERSON, "--host-resolver-rules=MAP shop.test 127.0.0.1")
    try:
        with Collector() as collector:
            page = browser.new_page()
            page.goto(f"http://shop.test:{collector.port}/shop")
            event = collector.wait_event("navigate")
            assert not page.evaluate("window.isSecureContext")
    finally:
        browser.close()
    assert re.fullmatch(r"\d+-\d+-\d+-\d+", event["user_id"])


def test_an_automated_browser_is_told_as_a_bot(
    launch: Callable[..., Browser], collector: Collector
) -> None:
    browser = launch()
    try:
        page = browser.new_page()
        visit(page, collector)
        assert status(page)["state"] == "bot"
    finally:
        browser.close()
    assert collector.received[0].envelope["bot"] is True


# --- clicks, scrolls --------------------------------------------------------------------
@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ('<button id="x">Pay  now</button>', {"target": "button#x", "label": "Pay now"}),
        ('<button class="a b">Go</button>', {"target": "button.a", "label": "Go"}),
        ("<button>Plain</button>", {"target": "button", "label": "Plain"}),
        ('<a href="#"><b>Deep</b> link</a>', {"target": "a", "label": "Deep link"}),
        ('<button data-lens="pay">Pay</button>', {"target": "pay", "label": "Pay"}),
        ('<button aria-label="Close">×</button>', {"target": "button", "label": "Close"}),
        ('<input name="email">', {"target": "input", "label": "email"}),
        ("<p>words of the page</p>", {"target": "p", "label": ""}),
        (f"<button>{'long ' * 20}</button>", {"target": "button", "label": ("long " * 8)}),
    ],
)
def test_a_click_tells_what_was_clicked(
    page: Page, collector: Collector, markup: str, expected: dict[str, str]
) -> None:
    visit(page, collector, body=f'<main id="main">{markup}</main>')
    page.locator("#main > *").click()
    event = collector.wait_event("click")
    assert event["metadata"] == expected
    assert event["view"] == collector.of("navigate")[0]["view"]


def test_a_click_in_a_shadow_tree_is_told(page: Page, collector: Collector) -> None:
    tree = collector.script(
        "/tree.js",
        """const host = document.querySelector("#host");
        host.attachShadow({ mode: "open" }).innerHTML = "<button id=deep>In here</button>";""",
    )
    visit(page, collector, body='<div id="host"></div>', tag=tree + TAG)
    page.click("#deep")
    assert collector.wait_event("click")["metadata"]["target"] == "button#deep"


def test_ignored_elements_and_scripted_clicks_are_not_told(
    page: Page, collector: Collector
) -> None:
    body = """<section data-ignore><button id="a">A</button></section>
        <button id="b" data-lens-ignore>B</button><button id="c">C</button>
        <button id="d">D</button>"""
    visit(page, collector, body=body)
    page.click("#a")
    page.click("#b")
    page.evaluate("document.querySelector('#c').click()")
    page.click("#d")
    collector.wait_event("click")
    assert [event["metadata"]["target"] for event in collector.of("click")] == ["button#d"]


def test_a_click_arrives_within_half_a_second(page: Page, collector: Collector) -> None:
    visit(page, collector)
    page.click("h1")
    event = collector.wait_event("click")
    assert collector.received[-1].at * 1000 - event["timestamp"] < 600


def test_clicks_share_an_envelope(page: Page, collector: Collector) -> None:
    visit(page, collector)
    page.evaluate("for (let i = 0; i < 3; i++) lens.track('click', {i})")
    collector.wait_event("click", 3)
    assert len(collector.received) == 2


def test_times_are_whole_milliseconds_whatever_the_page_did_to_date(
    page: Page, collector: Collector
) -> None:
    odd = collector.script("/odd.js", "const real = Date.now; Date.now = () => real() + 0.5;")
    visit(page, collector, tag=odd + TAG)
    envelope = collector.received[0].envelope
    assert isinstance(envelope["sent_at"], int)
    assert isinstance(envelope["events"][0]["timestamp"], int)


def test_scroll_depth_is_told_once_a_mark(page: Page, collector: Collector) -> None:
    visit(page, collector, path="/tall", body=TALL)
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight * 0.6 - innerHeight)")
    collector.wait_event("scroll", 2)
    page.evaluate("scrollTo(0, 0)")
    page.evaluate("scrollTo(0, 1e6)")
    collector.wait_event("scroll", 4)
    assert [event["metadata"] for event in collector.of("scroll")] == [
        {"depth": 25},
        {"depth": 50},
        {"depth": 75},
        {"depth": 100},
    ]
    page.evaluate("history.pushState(null, '', '/tall/2'); scrollTo(0, 900)")
    assert collector.wait_event("scroll", 5)["page"] == "/tall/2"


# --- what a visitor types ---------------------------------------------------------------
FIELDS = """<form id="form">
    <label for="f1">Name</label><input id="f1" name="name">
    <input type="password" id="f2" aria-label="Password"><textarea id="f3"></textarea>
    <input type="search" id="f4"><input type="email" id="f5"><input type="tel" id="f6">
    <div contenteditable id="f7" role="textbox">.</div>
    <a href="#x" id="f8"><span contenteditable id="f9">.</span></a>
    <div contenteditable><button type="button" id="fb">.</button><a href="#y" id="fc">.</a></div>
    <button type="button" id="fd"><textarea id="fe"></textarea></button>
    </form><h1>End</h1>"""


def test_what_is_typed_is_never_sent(page: Page, collector: Collector) -> None:
    secret = "correct-horse"
    visit(page, collector, body=FIELDS)
    for field in ("f1", "f2", "f3", "f4", "f5", "f6", "f7", "f9"):
        page.click(f"#{field}")
        page.keyboard.type(secret)
    # Typed in an editor, inside what looks like a button and a link; and a button holding a field.
    for field in ("fb", "fc", "fe"):
        page.evaluate(
            "([id, words]) => { const e = document.getElementById(id); e.textContent = words; }",
            [field, secret],
        )
        page.click(f"#{field}", force=True)
    page.click("#f8", position={"x": 1, "y": 1}, force=True)
    page.keyboard.press("Enter")
    page.click("h1")
    collector.wait_for(lambda: "h1" in [e["metadata"]["target"] for e in collector.of("click")])
    page.close()
    collector.wait_event("leave")
    assert len(collector.of("click")) >= 10
    for received in collector.received:
        assert secret.encode() not in received.body


# --- idle -------------------------------------------------------------------------------
@pytest.fixture
def still(page: Page, collector: Collector) -> Page:
    """A tall page whose clock the test moves; a request's time limit does not run with it."""
    page.clock.install()
    page.add_init_script("delete AbortSignal.timeout")
    visit(page, collector, body=TALL)
    return page


def durations(collector: Collector) -> list[int]:
    return [event["metadata"]["duration_ms"] for event in collector.of("idle")]


def test_idle_is_told_at_10_20_and_40_s(still: Page, collector: Collector) -> None:
    still.clock.run_for(9_000)
    still.evaluate("0")
    assert durations(collector) == []
    for count, seconds in enumerate((2, 10, 20), 1):
        still.clock.run_for(seconds * 1000)
        collector.wait_event("idle", count)
    still.clock.run_for(120_000)
    still.evaluate("lens.track('confirm')")
    collector.wait_event("confirm")
    assert [round(ms / 1000) for ms in durations(collector)] == [10, 20, 40]
    assert durations(collector)[0] >= 10_000
    starts = {e["timestamp"] - e["metadata"]["duration_ms"] for e in collector.of("idle")}
    assert len(starts) == 1, "one spell has one start"


def test_a_real_ten_seconds(page: Page, collector: Collector) -> None:
    visit(page, collector)
    event = collector.wait_event("idle", seconds=12)
    assert 10_000 <= event["metadata"]["duration_ms"] < 11_000
    assert event["page"] == "/shop"


@pytest.mark.parametrize("activity", ["pointermove", "keydown", "wheel", "scroll", "click"])
def test_activity_ends_a_spell(still: Page, collector: Collector, activity: str) -> None:
    acts: dict[str, Callable[[], Any]] = {
        "pointermove": lambda: still.mouse.move(40, 40),
        "keydown": lambda: still.keyboard.press("Shift"),
        "wheel": lambda: still.mouse.wheel(0, 10),
        "scroll": lambda: still.evaluate("scrollTo(0, 100)"),
        "click": lambda: still.click("h1"),
    }
    still.clock.run_for(10_100)
    collector.wait_event("idle")
    still.evaluate("(name) => addEventListener(name, () => { window.seen = true; })", activity)
    acts[activity]()
    wait_until(still, "window.seen")
    still.clock.run_for(9_500)
    still.clock.run_for(1_000)
    collector.wait_event("idle", 2)
    assert [ms // 1000 for ms in durations(collector)] == [10, 10]


def test_activity_before_the_first_mark_delays_it(still: Page, collector: Collector) -> None:
    still.clock.run_for(6_000)
    still.keyboard.press("Shift")
    still.clock.run_for(9_000)
    still.evaluate("lens.track('confirm')")
    collector.wait_event("confirm")
    assert durations(collector) == []
    still.clock.run_for(1_500)
    collector.wait_event("idle")
    assert durations(collector)[0] // 1000 == 10


def test_a_navigation_restarts_idle_time(still: Page, collector: Collector) -> None:
    still.clock.run_for(8_000)
    still.evaluate("history.pushState(null, '', '/cart')")
    still.clock.run_for(8_000)
    assert durations(collector) == []
    still.clock.run_for(2_500)
    assert collector.wait_event("idle")["page"] == "/cart"


def test_sleep_of_the_machine_is_not_idle_time(still: Page, collector: Collector) -> None:
    still.clock.run_for(8_000)
    still.clock.fast_forward(3_600_000)
    still.evaluate("lens.track('confirm')")
    collector.wait_event("confirm")
    assert durations(collector) == []
    still.clock.run_for(10_500)
    collector.wait_event("idle")
    assert durations(collector)[0] // 1000 == 10


def test_no_idle_while_hidden_and_a_new_spell_after(still: Page, collector: Collector) -> None:
    still.clock.run_for(8_000)
    set_hidden(still, True)
    still.clock.run_for(60_000)
    set_hidden(still, False)
    still.clock.run_for(9_000)
    collector.wait_event("tab_visible")
    assert durations(collector) == []
    still.clock.run_for(1_500)
    collector.wait_event("idle")
    assert durations(collector)[0] // 1000 == 10


# --- coming and going -------------------------------------------------------------------
def test_hidden_and_visible_are_told(page: Page, collector: Collector) -> None:
    visit(page, collector)
    set_hidden(page, True)
    collector.wait_event("tab_hidden")
    set_hidden(page, False)
    collector.wait_event("tab_visible")
    assert collector.actions() == ["navigate", "tab_hidden", "tab_visible"]


def test_hidden_goes_out_while_another_request_hangs(page: Page, collector: Collector) -> None:
    visit(page, collector)
    collector.answer("hang")
    page.evaluate("lens.track('purchase')")
    collector.wait_received(2)
    set_hidden(page, True)
    collector.wait_event("tab_hidden")


def test_a_page_loaded_in_the_background_says_so(page: Page, collector: Collector) -> None:
    hide = collector.script(
        "/hide.js", "Object.defineProperty(document, 'hidden', { value: true, configurable: true })"
    )
    visit(page, collector, tag=hide + TAG)
    collector.wait_event("tab_hidden")
    assert collector.actions() == ["navigate", "tab_hidden"]


def test_a_prerendered_page_waits_until_it_is_shown(page: Page, collector: Collector) -> None:
    prerender = collector.script(
        "/prerender.js",
        """let waiting = true;
        Object.defineProperty(document, "prerendering", { get: () => waiting });
        window.activate = () => {
          waiting = false;
          document.dispatchEvent(new Event("prerenderingchange"));
        };""",
    )
    page.goto(collector.page("/shop", tag=prerender + TAG))
    page.evaluate("lens.track('confirm')")
    assert page.evaluate("lens.status().queued") == 0
    page.evaluate("activate()")
    collector.wait_event("navigate")
    assert collector.actions() == ["navigate"]


@pytest.mark.parametrize("way", ["close", "elsewhere", "reload"])
def test_leave_and_what_waits_goes_by_beacon(page: Page, collector: Collector, way: str) -> None:
    visit(page, collector)
    view = collector.of("navigate")[0]["view"]
    elsewhere = collector.page("/plain", tag="")
    page.evaluate("lens.track('click', {last: true})")
    if way == "close":
        page.close(run_before_unload=True)
    elif way == "elsewhere":
        page.goto(elsewhere)
    else:
        page.reload()
    leave = collector.wait_event("leave")
    beacon = next(r for r in collector.received if "leave" in [e["action"] for e in r.events])
    assert [event["action"] for event in beacon.events] == ["click", "leave"]
    assert beacon.headers["Content-Type"].startswith("text/plain")
    assert leave["view"] == view
    assert collector.actions().count("leave") == 1
    assert "tab_hidden" not in collector.actions()


def test_leave_goes_out_where_there_is_no_beacon(page: Page, collector: Collector) -> None:
    no_beacon = collector.script("/no.js", "delete Navigator.prototype.sendBeacon")
    visit(page, collector, tag=no_beacon + TAG)
    page.goto(collector.page("/plain", tag=""))
    collector.wait_event("leave")


def test_a_request_in_flight_at_the_end_is_not_doubled(page: Page, collector: Collector) -> None:
    visit(page, collector)
    collector.answer("hang")
    page.evaluate("lens.track('purchase')")
    collector.wait_received(2)
    page.goto(collector.page("/plain", tag=""))
    collector.wait_event("leave")
    sent = [event["action"] for one in collector.received for event in one.events]
    assert sent == ["navigate", "purchase", "leave"]


# --- retries ----------------------------------------------------------------------------
@pytest.mark.parametrize("trouble", ["503", "500", "429", "drop"])
def test_trouble_is_tried_again_with_the_same_batch(
    page: Page, collector: Collector, trouble: str
) -> None:
    visit(page, collector)
    page.evaluate(
        "() => { window.failed = []; "
        "document.addEventListener('lens:failed', (e) => failed.push(e.detail)); }"
    )
    collector.answer(trouble)
    page.evaluate("lens.track('purchase', {total: 12})")
    collector.wait_received(2)
    wait_until(page, "failed.length")
    assert status(page)["state"] == "retrying"
    assert status(page)["queued"] == 1
    page.evaluate("lens.track('confirm')")
    collector.wait_event("purchase")
    collector.wait_event("confirm")

    first, second, third = collector.received[1:4]
    assert first.envelope["batch"] == second.envelope["batch"] != third.envelope["batch"]
    assert first.events == second.events
    assert second.envelope["sent_at"] > first.envelope["sent_at"]
    assert 0.9 <= second.at - first.at <= 2.6
    failed = page.evaluate("failed")
    assert len(failed) == 1
    assert failed[0]["retrying"] is True
    assert failed[0]["reason"]
    wait_until(page, "lens.status().state === 'sending' && !lens.status().queued")


def test_retry_after_is_honoured(page: Page, collector: Collector) -> None:
    visit(page, collector)
    collector.answer("503", Retry_After="3")
    page.evaluate("lens.track('purchase')")
    collector.wait_event("purchase")
    assert collector.received[2].at - collector.received[1].at >= 2.9


def test_waiting_grows_to_between_30_and_60_s(still: Page, collector: Collector) -> None:
    still.evaluate("() => { window.n = 0; document.addEventListener('lens:failed', () => n++); }")
    collector.always("503")
    still.evaluate("lens.track('purchase')")
    waits = []
    for failures in range(1, 9):
        wait_until(still, f"n >= {failures}")
        before = still.evaluate("Date.now()")
        while len(collector.received) < failures + 2:
            still.clock.run_for(500)
            still.evaluate("0")
            assert still.evaluate("Date.now()") - before < 61_500
        waits.append((still.evaluate("Date.now()") - before) / 1000)
    # The clock runs on in steps while an answer is on its way: only the floor is sharp.
    assert 1 <= waits[0] <= 10
    assert 2 <= waits[1] <= 12
    assert all(wait >= 30 for wait in waits[-3:]), waits


@pytest.mark.parametrize("code", ["400", "401", "403", "413"])
def test_a_refusal_drops_the_batch_and_says_why(
    page: Page, collector: Collector, code: str
) -> None:
    visit(page, collector)
    page.evaluate("document.addEventListener('lens:failed', (e) => { window.failed = e.detail; })")
    collector.answer(code)
    with page.expect_console_message(lambda message: "BehaviourLens" in message.text) as said:
        page.evaluate("lens.track('purchase')")
    assert said.value.type == "warning"
    failed = wait_until(page, "window.failed")
    assert failed["retrying"] is False
    assert failed["reason"].startswith(code)
    assert "told_so" in failed["reason"]
    assert status(page) == {
        "state": "sending",
        "queued": 0,
        "dropped": 1,
        "lastError": failed["reason"],
    }
    page.evaluate("lens.track('confirm')")
    collector.wait_event("confirm")
    assert collector.of("purchase") == []


def test_the_queue_is_bounded_and_keeps_the_newest(page: Page, collector: Collector) -> None:
    visit(page, collector)
    collector.always("503")
    page.evaluate("lens.track('purchase')")
    wait_until(page, "lens.status().state === 'retrying'")
    page.evaluate("for (let n = 0; n < 450; n++) lens.track('click', {n})")
    assert status(page)["queued"] == 200
    assert status(page)["dropped"] == 251
    collector.always("202")
    collector.wait_event("click", 199)
    assert len(collector.of("purchase")) == 1, "what was tried is kept: it may have arrived"
    kept = [int(event["metadata"]["n"]) for event in collector.of("click")]
    assert kept == list(range(251, 450))
    assert max(len(one.events) for one in collector.received) == 50


def test_no_body_outgrows_a_beacon(page: Page, collector: Collector) -> None:
    visit(page, collector)
    page.evaluate(
        """() => {
            const big = {};
            for (let i = 0; i < 16; i++) big["k" + i] = "€".repeat(600);
            for (let i = 0; i < 5; i++) lens.track("confirm", big);
        }"""
    )
    collector.wait_event("confirm", 5)
    assert max(len(one.body) for one in collector.received) <= 60_000
    assert {len(v) for v in collector.of("confirm")[0]["metadata"].values()} == {512}
    assert status(page)["lastError"] == "", "each body fits into the quota of keepalive requests"


def test_unsent_events_go_with_the_next_page_of_the_tab(page: Page, collector: Collector) -> None:
    visit(page, collector)
    visitor = page.evaluate("lens.visitor")
    collector.always("503")
    page.evaluate("lens.track('purchase')")
    wait_until(page, "lens.status().state === 'retrying'")
    page.evaluate("lens.track('click', {n: 1})")
    attempt = collector.received[1].envelope["batch"]
    page.goto(collector.page("/plain", tag=""))
    collector.always("202")
    page.goto(collector.page("/cart"))
    collector.wait_for(lambda: len(collector.of("navigate")) == 2)
    assert [(e["action"], e["page"]) for e in collector.accepted] == [
        ("navigate", "/shop"),
        ("purchase", "/shop"),
        ("click", "/shop"),
        ("leave", "/shop"),
        ("navigate", "/cart"),
    ]
    assert {event["user_id"] for event in collector.accepted} == {visitor}
    again = next(
        one for one in collector.received if one.envelope["batch"] == attempt and one.status == 202
    )
    assert [event["action"] for event in again.events] == ["purchase"]


# --- for the page's own scripts ---------------------------------------------------------
def test_track_keeps_scalars_and_bounds_them(page: Page, collector: Collector) -> None:
    visit(page, collector)
    page.evaluate(
        """lens.track("purchase", {
            total: 12.5, gift: true, none: null, list: [1], thing: {}, work() {},
            missing: undefined, words: "x".repeat(600), half: "\\ud83d", line: "a\\nb",
        })"""
    )
    assert collector.wait_event("purchase")["metadata"] == {
        "total": "12.5",
        "gift": "true",
        "words": "x" * 512,
        "half": " ",
        "line": "a b",
    }
    page.evaluate("lens.track('confirm', Object.fromEntries([...Array(40).keys()].entries()))")
    assert len(collector.wait_event("confirm")["metadata"]) == 16


def test_an_unknown_action_is_refused_once_aloud(page: Page, collector: Collector) -> None:
    visit(page, collector)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.evaluate("lens.track('dance'); lens.track('dance'); lens.track(); lens.track('confirm')")
    collector.wait_event("confirm")
    assert collector.actions() == ["navigate", "confirm"]
    assert len([text for text in said if '"dance"' in text]) == 1


def test_the_page_hears_of_events_and_envelopes(page: Page, collector: Collector) -> None:
    listen = collector.script(
        "/listen.js",
        """window.heard = [];
        for (const name of ["lens:event", "lens:sent", "lens:failed"])
          document.addEventListener(name, (event) => heard.push([name, event.detail]));""",
    )
    visit(page, collector, tag=listen + TAG)
    wait_until(page, "heard.length === 2")
    (first, event), (second, sent) = page.evaluate("heard")
    assert (first, second) == ("lens:event", "lens:sent")
    assert set(event) == {"action", "page", "timestamp", "metadata"}
    assert event["action"] == "navigate"
    assert sent == {"count": 1}


def test_exclude_stops_now_and_on_later_pages(page: Page, collector: Collector) -> None:
    visit(page, collector)
    with page.expect_console_message() as said:
        page.evaluate("lens.exclude()")
    assert said.value.type == "info"
    page.click("h1")
    assert status(page)["state"] == "excluded"
    page.goto(collector.page("/cart"))
    wait_until(page, "window.lens")
    page.click("h1")
    page.evaluate("lens.track('purchase')")
    assert status(page)["state"] == "excluded"
    page.evaluate("lens.include()")
    collector.wait_event("navigate", 2)
    page.click("h1")
    collector.wait_event("click")
    assert [(e["action"], e["page"]) for e in collector.accepted] == [
        ("navigate", "/shop"),
        ("navigate", "/cart"),
        ("click", "/cart"),
    ]


def test_a_second_copy_of_the_script_does_nothing(page: Page, collector: Collector) -> None:
    visit(page, collector, tag=TAG + TAG + EARLY)
    page.click("h1")
    collector.wait_event("click")
    assert collector.actions() == ["navigate", "click"]


def test_an_element_called_lens_is_no_obstacle(page: Page, collector: Collector) -> None:
    visit(page, collector, body='<div id="lens"></div>')


# --- never in the way -------------------------------------------------------------------
@pytest.fixture
def faults(page: Page) -> list[str]:
    """What the page's console and window report as errors."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("console", lambda m: found.append(m.text) if m.type == "error" else None)
    return found


def test_a_strict_policy_is_not_violated(
    page: Page, collector: Collector, faults: list[str]
) -> None:
    visit(page, collector)
    page.click("h1")
    collector.wait_event("click")
    page.goto(collector.page("/cart"))
    collector.wait_event("leave")
    assert faults == []


@pytest.mark.parametrize(
    "hostile",
    [
        "Object.freeze(history); Object.freeze(History.prototype);",
        "Object.defineProperty(window, 'sessionStorage', { get() { throw new Error('no') } });"
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('no') } });",
        "delete AbortSignal.timeout;",
        "console.info = console.warn = () => { throw new Error('no console') };",
        "Object.freeze(Object.prototype); Object.freeze(Array.prototype);",
        "sessionStorage.setItem('behaviourlens', '{broken');",
        "document.addEventListener('lens:event', () => { void 0 });",
    ],
)
def test_hostile_pages_are_tracked_without_an_error(
    page: Page, collector: Collector, faults: list[str], hostile: str
) -> None:
    visit(page, collector, tag=collector.script("/hostile.js", hostile) + TAG)
    page.evaluate("history.pushState(null, '', '/cart')")
    page.click("h1")
    page.evaluate("lens.track('nonsense')")
    collector.wait_event("click")
    assert collector.of("click")[0]["page"] == "/cart"
    page.goto(collector.page("/plain", tag=""))
    collector.wait_event("leave")
    assert faults == []


@pytest.mark.parametrize(
    "broken", ["delete window.fetch;", "window.fetch = () => { throw new Error('no') };"]
)
def test_a_page_without_fetch_is_left_alone(
    page: Page, collector: Collector, faults: list[str], broken: str
) -> None:
    page.goto(collector.page("/shop", tag=collector.script("/broken.js", broken) + TAG))
    wait_until(page, "lens.status().state === 'retrying'")
    page.click("h1")
    assert status(page)["lastError"]
    assert faults == []


def test_a_sandboxed_frame_without_storage_is_tracked(
    page: Page, collector: Collector, faults: list[str]
) -> None:
    collector.csp = None
    collector.page("/inner", tag=f'<script src="{collector.url}/lens.js" data-site="k"></script>')
    body = '<iframe sandbox="allow-scripts" src="/inner"></iframe>'
    page.goto(collector.page("/outer", body=body, tag=""))
    event = collector.wait_event("navigate")
    assert event["page"] == "/inner"
    assert event["user_id"]
    assert faults == []


def test_another_origin_needs_no_preflight(page: Page, collector: Collector) -> None:
    with Collector() as shop:
        shop.csp = None
        tag = f'<script src="{collector.url}/lens.js" data-site="k" defer></script>'
        page.goto(shop.page("/shop", tag=tag).replace("127.0.0.1", "localhost"))
        collector.wait_event("navigate")
        page.goto(shop.page("/plain", tag="").replace("127.0.0.1", "localhost"))
        collector.wait_event("leave")
        assert shop.received == []
    assert 204 not in [one.status for one in collector.received]


def test_the_endpoint_may_be_named(page: Page, collector: Collector) -> None:
    collector.csp = None
    with Collector() as other:
        tag = TAG.replace(" defer", f' data-endpoint="{other.url}/collect" defer')
        page.goto(collector.page("/shop", tag=tag))
        other.wait_event("navigate")
    assert collector.received == []


def test_what_is_sent_is_what_the_wire_allows(page: Page, collector: Collector) -> None:
    """Every body the tracker makes is accepted whole by the decoder of POST /events."""
    page.clock.install()
    visit(page, collector, path="/tall", body=TALL)
    page.click("h1")
    page.mouse.wheel(0, 9000)
    page.clock.run_for(11_000)
    set_hidden(page, True)
    set_hidden(page, False)
    page.evaluate("lens.identify('7'); lens.track('purchase', {['€'.repeat(70)]: 1})")
    page.goto(collector.page("/plain", tag=""))
    collector.wait_event("leave")
    for received in collector.received:
        submission = decode(received.body)
        assert submission.rejected == []
        assert len(submission.events) == len(json.loads(received.body)["events"])
