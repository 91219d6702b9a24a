"""The admin as a person works in it: finding, reading, resolving, and what it refuses."""

import html
import http.cookiejar
import re
import urllib.parse
import urllib.request
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.db.models.signals import pre_save
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from detection import resolution, store
from detection.admin import lists
from detection.engine.patterns import Severity
from detection.models import Pattern, PatternChange, Site
from tests.making import T0, escalated, opened, recovered
from tests.server import Server, manage
from tests.sse import EventSource

pytestmark = pytest.mark.django_db

LIST = "/admin/detection/pattern/"
CHANGES = "/admin/detection/patternchange/"
SITES = "/admin/detection/site/"
EVIL = "<script>alert('x')</script>"


@pytest.fixture(autouse=True)
def _site(db: None) -> None:
    Site.objects.get_or_create(pk=1, defaults={"name": "Default site"})


def account(name: str, *permissions: str) -> Client:
    """A client that a member of staff with these permissions has logged in with."""
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def ann() -> Client:
    """May look at patterns, changes and sites, and change patterns and sites."""
    names = ("pattern", "patternchange", "site")
    views = [f"view_{name}" for name in names]
    return account("ann", *views, "change_pattern", "add_site", "change_site", "delete_site")


def page_of(pattern_id: str) -> str:
    return f"{LIST}{quote(pattern_id)}/change/"


def listed(response: Any) -> list[str]:
    """The ids of the patterns in a list, as it shows them."""
    assert response.status_code == 200
    return [pattern.pk for pattern in response.context["cl"].result_list]


def text(response: Any) -> str:
    """What the page says, without its markup."""
    body = re.sub(r"<[^>]*>", " ", response.content.decode())
    return " ".join(html.unescape(body).split())


def act(client: Client, action: str, *pattern_ids: str, **more: str) -> Any:
    data = {"action": action, "_selected_action": list(pattern_ids), "index": "0", **more}
    return client.post(LIST, data, follow=True)


def steps(kind: str) -> list[tuple[str, str]]:
    found = PatternChange.objects.filter(kind=kind).order_by("sequence")
    return [(step.pattern_id, step.actor) for step in found]


# --- the list ----------------------------------------------------------------------------


def test_the_list_says_what_where_who_when_and_how_it_stands(ann: Client) -> None:
    store.apply([opened(severity=Severity.HIGH, user_id="0123456789abcdef", identified="Bob")])
    row = text(ann.get(LIST)).partition("State")[2]
    for words in ("Hesitation", "High", "/checkout", "Bob", "0123456789a…", "15 Jan 2027", "Open"):
        assert words in row


def test_the_newest_comes_first_and_the_time_can_be_turned_round(ann: Client) -> None:
    store.apply([opened(f"p{n}", detected_at=T0 + n) for n in (2, 1, 3)])
    assert listed(ann.get(LIST)) == ["p3", "p2", "p1"]
    assert listed(ann.get(LIST, {"o": "5"})) == ["p1", "p2", "p3"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["low", "high", "back", "done"]),
        ({"state": "open"}, ["low", "high"]),
        ({"state": "resolved"}, ["done"]),
        ({"state": "recovered"}, ["back"]),
        ({"state": "nonsense"}, ["low", "high", "back", "done"]),
        ({"type": "abandonment"}, ["high", "back"]),
        ({"severity__exact": "3"}, ["high", "back"]),
        ({"type": "hesitation", "state": "open"}, ["low"]),
    ],
)
def test_filters_choose(ann: Client, asked: dict[str, str], found: list[str]) -> None:
    store.apply([opened("done"), opened("low", detected_at=T0 + 9)])
    high: dict[str, Any] = {"type": "abandonment", "severity": Severity.HIGH}
    store.apply([opened("back", detected_at=T0 + 1, **high)])
    store.apply([opened("high", detected_at=T0 + 2, **high), recovered("back", type="abandonment")])
    resolution.resolve("done")
    assert listed(ann.get(LIST, asked)) == found


def test_the_time_filter_knows_the_past_week(ann: Client) -> None:
    store.apply([opened("old"), opened("new")])
    now = timezone.now()
    Pattern.objects.filter(pk="old").update(detected_at=now - timedelta(days=10))
    Pattern.objects.filter(pk="new").update(detected_at=now - timedelta(hours=1))
    [time] = [f for f in ann.get(LIST).context["cl"].filter_specs if f.title == "time"]
    week = dict(time.links)["Past 7 days"]
    assert listed(ann.get(LIST, week)) == ["new"]


def test_a_second_site_brings_its_filter_and_is_shown_by_itself(ann: Client) -> None:
    store.apply([opened("mine")])
    assert "By site" not in text(ann.get(LIST))
    other = Site.objects.create(name="Other shop")
    store.apply([opened("theirs", site=other.pk)])
    assert "By site" in text(ann.get(LIST))
    assert listed(ann.get(LIST)) == ["mine"]
    assert listed(ann.get(LIST, {"site": other.pk})) == ["theirs"]
    assert listed(ann.get(LIST, {"site": "x'--"})) == ["mine"]


@pytest.mark.parametrize("term", ["STRASSE", "straße", "  ÉCOLE\t", "école weg", "/KASSE", "u-ß"])
def test_search_folds_case_as_unicode_does(ann: Client, term: str) -> None:
    store.apply([opened("other", user_id="nobody", page="/elsewhere")])
    words: dict[str, Any] = {"page": "/kasse", "identified": "STRASSE", "explanation": "École  Weg"}
    store.apply([opened("wanted", user_id="U-SS", **words)])
    assert listed(ann.get(LIST, {"q": term})) == ["wanted"]


@pytest.mark.parametrize("term", ["100%", "_", "it's"])
def test_search_takes_every_sign_for_itself(ann: Client, term: str) -> None:
    store.apply([opened("plain"), opened("signs", explanation="it's 100% a_b")])
    assert listed(ann.get(LIST, {"q": term})) == ["signs"]


@pytest.mark.parametrize("address", [LIST, CHANGES])
def test_a_longer_list_asks_no_more_of_the_database(ann: Client, address: str) -> None:
    store.apply([opened("p0")])
    with CaptureQueriesContext(
        connection,
    ) as short:
        ann.get(address)
    store.apply([opened(f"p{n}", identified=f"n{n}") for n in range(1, 30)])
    with CaptureQueriesContext(connection) as long:
        ann.get(address)
    assert len(long) == len(short) <= 8
    # Neither the wide columns nor a count of all the table.
    assert not any('"evidence"' in query["sql"] for query in long)
    counts = [query["sql"] for query in long if "COUNT" in query["sql"]]
    assert counts
    assert all(f"LIMIT {lists.MOST_COUNTED + 1}" in count for count in counts)


def test_a_huge_list_is_counted_only_so_far_and_says_so(
    ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MOST_COUNTED", 3)
    store.apply([opened(f"p{n}") for n in range(3)])
    assert "3 patterns" in text(ann.get(LIST))
    store.apply([opened("p3")])
    assert "More than 3 patterns; narrow them down" in text(ann.get(LIST))
    assert "more than 3 found" in text(ann.get(LIST, {"q": "thing"}))


# --- actions -----------------------------------------------------------------------------


def test_resolving_writes_one_step_each_and_says_how_many(ann: Client) -> None:
    store.apply([opened(f"p{n}") for n in range(4)])
    resolution.resolve("p3", by="bob")
    response = act(ann, "resolve_selected", "p0", "p1", "p2", "p3")
    assert "3 patterns resolved, 1 already." in text(response)
    assert sorted(steps("resolved")) == [("p0", "ann"), ("p1", "ann"), ("p2", "ann"), ("p3", "bob")]


def test_reopening_leaves_what_is_open_or_recovered(ann: Client) -> None:
    store.apply([opened("open"), opened("shut"), opened("back"), recovered("back")])
    resolution.resolve("shut")
    response = act(ann, "reopen_selected", "open", "shut", "back")
    assert "1 pattern reopened, 1 open already, 1 recovered and stay closed." in text(response)
    assert steps("reopened") == [("shut", "ann")]


def test_an_action_that_changes_nothing_warns(ann: Client) -> None:
    store.apply([opened()])
    response = act(ann, "reopen_selected", "p1")
    assert [m.level_tag for m in response.context["messages"]] == ["warning"]


def test_selecting_all_takes_no_more_than_the_list_counts(
    ann: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detection.admin.patterns.MOST_COUNTED", 2)
    store.apply([opened(f"p{n}", detected_at=T0 + n) for n in range(3)])
    act(ann, "resolve_selected", "p2", select_across="1")
    assert [pattern for pattern, _ in steps("resolved")] == ["p2", "p1"]


def test_who_may_only_look_can_do_nothing() -> None:
    store.apply([opened()])
    eve = account("eve", "view_pattern")
    assert "Resolve" not in text(eve.get(LIST)).replace("Resolved", "")
    act(eve, "resolve_selected", "p1")
    shown = eve.get(page_of("p1"))
    assert shown.status_code == 200
    assert b"_resolve" not in shown.content
    assert eve.post(page_of("p1"), {"note": "x", "_resolve": ""}).status_code == 403
    assert (Pattern.objects.get().state, Pattern.objects.get().note) == ("open", "")
    assert PatternChange.objects.count() == 1


def test_who_has_no_permission_sees_nothing() -> None:
    store.apply([opened()])
    nobody = account("nobody")
    for address in (LIST, page_of("p1"), CHANGES, SITES):
        assert nobody.get(address).status_code == 403


# --- the page of one pattern ---------------------------------------------------------------


def test_evidence_is_shown_to_the_millisecond(ann: Client) -> None:
    event = {"user_id": "u1", "action": "tab_hidden", "page": "/cart", "timestamp": T0 - 1_234}
    event["metadata"] = {"items": "3", "duration_ms": "40123"}
    facts = {"idle": "40 seconds", "idle_ms": 40123, "idle_since": T0 - 5, "pages": ["/a", "/b"]}
    store.apply([opened("p_5Fq", evidence={"facts": facts, "events": [event]})])
    said = text(ann.get(page_of("p_5Fq")))
    assert "Idle 40 seconds (40,123 ms)" in said
    assert "Idle since 15 Jan 2027, 07:59:59.995 UTC" in said
    assert "Pages /a, /b" in said
    assert "07:59:58.766 UTC −1.234 s Tab hidden /cart Items 3 Duration ms 40123" in said


@pytest.mark.parametrize(
    "evidence", [[], "x", {}, {"facts": 1, "events": {}}, {"events": [1, {"timestamp": 10**30}]}]
)
def test_evidence_of_any_shape_is_survived(ann: Client, evidence: object) -> None:
    store.apply([opened()])
    Pattern.objects.update(evidence=evidence)
    assert ann.get(page_of("p1")).status_code == 200


def test_history_is_told_in_order(ann: Client) -> None:
    store.apply([opened(), escalated()])
    resolution.resolve("p1", by="bob")
    resolution.reopen("p1", by="ann")
    said = text(ann.get(page_of("p1"))).partition("Explanation then")[2]
    parts = ["1 15", "Opened Low — A low thing.", "2 15", "Escalated Medium — A medium thing."]
    parts += ("Resolved Medium bob", "Reopened Medium ann")
    places = [said.index(part) for part in parts]
    assert places == sorted(places)


def test_the_visitor_is_linked_to_the_live_dashboard(ann: Client) -> None:
    store.apply([opened(user_id="a/b?&é x")])
    link = 'href="/?visitor=a%2Fb%3F%26%C3%A9+x"'
    assert link in ann.get(page_of("p1")).content.decode()


def test_a_note_is_all_that_saving_stores(ann: Client) -> None:
    store.apply([opened()])
    before = Pattern.objects.values().get()
    forged = {"explanation": "no", "severity": "3", "resolved_at": "2020-01-01", "user_id": "x"}
    response = ann.post(page_of("p1"), {"note": "Rang them.", "_save": "", **forged})
    assert response.status_code == 302
    assert Pattern.objects.values().get() == before | {"note": "Rang them."}


def test_a_note_does_not_undo_what_another_did_meanwhile(ann: Client) -> None:
    store.apply([opened()])

    def meanwhile(sender: type, **signal: Any) -> None:
        resolution.resolve("p1", by="bob")

    pre_save.connect(meanwhile, sender=Pattern)
    try:
        ann.post(page_of("p1"), {"note": "Rang them.", "_save": ""})
    finally:
        pre_save.disconnect(meanwhile, sender=Pattern)
    pattern = Pattern.objects.get()
    assert (pattern.note, pattern.resolved_by) == ("Rang them.", "bob")


def test_the_button_keeps_the_note_and_resolves_and_reopens(ann: Client) -> None:
    store.apply([opened()])
    done = ann.post(page_of("p1"), {"note": "Rang them.", "_resolve": ""}, follow=True)
    assert "The pattern was resolved." in text(done)
    assert "Rang them." in text(done)
    again = ann.post(page_of("p1"), {"note": "Twice.", "_resolve": ""}, follow=True)
    assert "not resolved: it is resolved already." in text(again)
    back = ann.post(page_of("p1"), {"note": "Twice.", "_reopen": ""}, follow=True)
    assert "The pattern was reopened." in text(back)
    assert (steps("resolved"), steps("reopened")) == ([("p1", "ann")], [("p1", "ann")])
    assert Pattern.objects.get().note == "Twice."


def test_the_button_needs_the_csrf_token() -> None:
    store.apply([opened()])
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.create_superuser("root"))
    assert strict.post(page_of("p1"), {"note": "", "_resolve": ""}).status_code == 403
    assert Pattern.objects.get().state == "open"


def test_nobody_adds_or_deletes_patterns_or_touches_changes(admin_client: Client) -> None:
    store.apply([opened()])
    change = PatternChange.objects.get()
    for address in (
        f"{LIST}add/",
        f"{LIST}p1/delete/",
        f"{CHANGES}add/",
        f"{CHANGES}{change.pk}/delete/",
    ):
        assert admin_client.post(address, {"post": "yes"}).status_code == 403
    assert admin_client.post(f"{CHANGES}{change.pk}/change/", {"kind": "x"}).status_code == 403
    act(admin_client, "delete_selected", "p1", post="yes")
    assert (Pattern.objects.count(), PatternChange.objects.count()) == (1, 1)


def test_what_visitors_send_is_never_markup(ann: Client) -> None:
    event = {"user_id": EVIL, "action": EVIL, "page": EVIL, "timestamp": T0}
    event["metadata"] = {EVIL: EVIL}
    evidence = {"facts": {EVIL: EVIL, "pages": [EVIL]}, "events": [event]}
    names = ("user_id", "identified", "type", "place", "page", "explanation")
    fields: dict[str, Any] = dict.fromkeys(names, EVIL[:40])
    store.apply([opened(evidence=evidence, **fields)])
    resolution.resolve("p1", by=EVIL, note=EVIL)
    Site.objects.update(name=EVIL)
    pages = (LIST, page_of("p1"), CHANGES, f"{LIST}?q={urllib.parse.quote(EVIL)}", SITES)
    for address in pages:
        body = ann.get(address).content.decode()
        assert "&lt;script&gt;alert" in body
        assert "<script>" not in body
    ann.post(page_of("p1"), {"note": EVIL, "_reopen": ""})
    assert "<script>" not in ann.get(LIST).content.decode()


# --- changes and sites -------------------------------------------------------------------


def test_changes_are_found_by_kind_and_by_who_made_them(ann: Client) -> None:
    store.apply([opened("a_5Fb"), opened("q", user_id="Zoë")])
    resolution.resolve("q", by="Bob")
    sequences = [c.sequence for c in ann.get(CHANGES).context["cl"].result_list]
    assert sequences == [3, 2, 1]
    assert f'href="{page_of("a_5Fb")}"' in ann.get(CHANGES).content.decode()
    for asked, found in (
        ({"kind__exact": "opened"}, [2, 1]),
        ({"q": "bob"}, [3]),
        ({"q": "ZOË"}, [3, 2]),
    ):
        assert [c.sequence for c in ann.get(CHANGES, asked).context["cl"].result_list] == found


def site_form(client: Client, origins: str) -> Any:
    return client.post(f"{SITES}1/change/", {"name": "Shop", "allowed_origins": origins})


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("", ""),
        ("https://shop.example", "https://shop.example"),
        ("HTTPS://Shop.Example:443/ \r\n\r\nhttps://shop.example", "https://shop.example"),
        ("http://localhost:3000\nhttps://b", "http://localhost:3000\nhttps://b"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_origins_are_kept_as_browsers_write_them(ann: Client, written: str, kept: str) -> None:
    assert site_form(ann, written).status_code == 302
    assert Site.objects.get(pk=1).allowed_origins == kept


@pytest.mark.parametrize(
    "wrong",
    [
        "shop.example",
        "*",
        "https://*.example",
        "https://shop.example/path",
        "https://shop.example?x",
        "https://u:p@shop.example",
        "ftp://shop.example",
        "https://",
        "https://shop.example:http",
        "https://[::1",
        "https://a..b",
        "https://<b>",
        "null",
    ],
)
def test_what_is_no_origin_is_refused_by_name(ann: Client, wrong: str) -> None:
    response = site_form(ann, f"https://fine.example\n{wrong}")
    assert response.status_code == 200
    assert f"“{wrong}” is not an origin" in text(response)
    assert Site.objects.get(pk=1).allowed_origins == ""


def test_a_site_shows_its_tag_and_keeps_its_key_and_counts(ann: Client) -> None:
    store.apply([opened()])
    site = Site.objects.get(pk=1)
    tag = f'<script src="http://testserver/lens.js" data-site="{site.key}" defer></script>'
    response = ann.get(f"{SITES}1/change/")
    assert html.escape(tag) in response.content.decode()
    forged = {"name": "Shop", "allowed_origins": "", "key": "mine", "last_change": "9"}
    ann.post(f"{SITES}1/change/", forged | {"patterns_detected": "9"})
    after = Site.objects.get(pk=1)
    assert (after.name, after.key, after.last_change, after.patterns_detected) == (
        "Shop",
        site.key,
        1,
        1,
    )


def test_only_an_unused_site_that_is_not_the_default_can_be_deleted(ann: Client) -> None:
    unused, used = Site.objects.create(name="Unused"), Site.objects.create(name="Used")
    store.apply([opened(site=used.pk)])
    for site, status in ((1, 403), (used.pk, 403), (unused.pk, 302)):
        response = ann.post(f"{SITES}{site}/delete/", {"post": "yes"})
        assert response.status_code == status
    assert set(Site.objects.values_list("pk", flat=True)) == {1, used.pk}


def test_a_new_site_gets_a_key_of_its_own(ann: Client) -> None:
    ann.post(f"{SITES}add/", {"name": "Second", "allowed_origins": ""})
    assert len(Site.objects.get(name="Second").key) > 16


# --- every page --------------------------------------------------------------------------


def test_pages_carry_no_inline_code_and_forbid_it(admin_client: Client) -> None:
    store.apply([opened()])
    pages = [(admin_client, a) for a in ("/admin/", LIST, page_of("p1"), CHANGES, SITES)]
    pages += [(admin_client, f"{SITES}1/change/"), (admin_client, "/api/docs")]
    for client, address in [*pages, (Client(), "/admin/login/")]:
        response = client.get(address)
        assert response.status_code == 200
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        body = response.content.decode()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", body)
        # A script has a source, or is data that no browser runs.
        assert not re.search(r"<script(?![^>]*(\ssrc=|application/json))", body)


def test_the_first_page_leads_to_dashboard_store_and_api(admin_client: Client) -> None:
    response = admin_client.get("/admin/")
    body = response.content.decode()
    assert "BehaviourLens" in text(response)
    for address in ("/", "/demo", "/api/docs"):
        assert f'href="{address}"' in body


def test_a_resolution_in_the_admin_reaches_those_who_watch(server: Server) -> None:
    seed = (
        "from tests.making import *; from detection import store; store.apply([opened()]);"
        "from django.contrib.auth.models import User; User.objects.create_superuser('ann','','pw')"
    )
    manage(server.database, "shell", "-c", seed)
    browser = urllib.request.build_opener(
        urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    )

    def send(path: str, **fields: str) -> str:
        with browser.open(server.url + path, timeout=30) as page:
            token = re.search(rb'csrfmiddlewaretoken" value="(\w+)"', page.read())
        assert token is not None
        data = urllib.parse.urlencode({"csrfmiddlewaretoken": token[1].decode(), **fields})
        with browser.open(server.url + path, data.encode(), timeout=30) as page:
            return str(page.read().decode())

    send("/admin/login/", username="ann", password="pw", next=LIST)
    with EventSource(f"{server.url}/api/stream") as stream:
        stream.opened()
        said = send(LIST, action="resolve_selected", _selected_action="p1", index="0")
        assert "1 pattern resolved." in said
        [message] = stream.wait_for(bool)
    assert (message.json["change"], message.json["by"], message.json["resolved"]) == (
        "resolved",
        "ann",
        True,
    )
