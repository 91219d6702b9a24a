"""Who looks at the dashboard, and an engine that says what a test wants."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from detection.engine.events import Event
from detection.engine.snapshots import ActiveVisitor, VisitorWindow
from detection.shapes import StatsOut

NOW = 1_760_000_500_000


@pytest.fixture
def resolver(db: None) -> User:
    """Staff who may change patterns, by permission and not as a superuser."""
    user = User.objects.create_user("rita", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="change_pattern"))
    return user


@pytest.fixture
def reader(db: None) -> User:
    """Staff who may look and no more."""
    return User.objects.create_user("ravi", is_staff=True)


@pytest.fixture
def board(resolver: User) -> Client:
    """A browser of someone who may see and resolve."""
    client = Client()
    client.force_login(resolver)
    return client


@pytest.fixture
def fragments(resolver: User) -> Client:
    """The same browser when htmx asks."""
    client = Client(headers={"HX-Request": "true"})
    client.force_login(resolver)
    return client


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that answers: 12,345 events, 2 visitors, a third abandoned."""
    told = StatsOut(
        total_events=12_345,
        active_users=2,
        patterns_detected=7,
        abandonment_rate=1 / 3,
        as_of=NOW,
    )
    monkeypatch.setattr("dashboard.live.stats", lambda site: told)
    monkeypatch.setattr(
        "dashboard.live.active_visitors",
        lambda site, within_ms: [
            ActiveVisitor("visitor-two", "anna@example.org", "/cart", NOW),
            ActiveVisitor("visitor-one", "", "/checkout", NOW - 5000),
        ],
    )


Windows = dict[str, VisitorWindow]


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Windows:
    """Visitors' windows by id; a test puts in what the engine shall hold."""
    held: Windows = {}
    monkeypatch.setattr("dashboard.visitor.visitor_window", lambda site, user_id: held.get(user_id))
    return held


@pytest.fixture
def window() -> Callable[..., VisitorWindow]:
    """Makes a window: `window("id", ("navigate", "/cart"), ("click", "/cart"))`, oldest first."""

    def make(user_id: str, *steps: tuple[str, str], **fields: object) -> VisitorWindow:
        events = [
            Event(1, user_id, action, page, NOW + number * 1000)
            for number, (action, page) in enumerate(steps)
        ]
        values: dict[str, object] = {
            "identified": "",
            "current_page": steps[-1][1] if steps else "",
            "last_seen": NOW + len(steps) * 1000,
            "hidden": False,
        }
        return VisitorWindow(user_id=user_id, events=events, **(values | fields))  # type: ignore[arg-type]

    return make
