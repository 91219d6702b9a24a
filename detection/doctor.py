"""What is wrong with this deployment, as its database and its machine tell it, in plain words.

Each examination is a generator of findings, and yields none where all is well. detection/visit.py
examines a running server from outside; `manage.py doctor` asks both.
"""

import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from django.conf import settings
from django.contrib.staticfiles import finders
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Max

from detection.clock import now_ms, to_datetime, to_ms
from detection.lease import make_lease
from detection.models import ApiToken, JournalEntry, Owner, RefusedSender, Site, Snapshot
from detection.tracker_views import SCRIPT

# Further apart than this, s, two clocks are told about.
CLOCKS_S: Final = 5.0
# Without an event for so long, a site is silent.
SILENT: Final = timedelta(hours=24)
REFUSED_WITHIN: Final = timedelta(hours=1)
TOKENS_WITHIN: Final = timedelta(days=7)
# The owner writes that it lives every two seconds; snapshots come every five minutes.
OWNER_SILENT: Final = timedelta(minutes=1)
UNSAVED: Final = timedelta(minutes=20)
# A disk is nearly full below this part of it, but never above so many bytes.
LEAST_FREE: Final = 0.05
ENOUGH_FREE: Final = 5_000_000_000
# Without these no page looks like one: one file of each room that has some.
FILES: Final = (
    "dashboard/dashboard.css",
    "dashboard/connection.js",
    "detection/admin.css",
    "demo_store/verse.css",
    "django_htmx/htmx-2.min.js",
    "admin/css/base.css",
)


class Finding(NamedTuple):
    """What is wrong, and what to do about it: a sentence or two of each."""

    wrong: str
    mend: str


Examination = Callable[[], Iterator[Finding]]


def migrations() -> Iterator[Finding]:
    """The database is not as this version wants it."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        names = ", ".join(f"{step.app_label}.{step.name}" for step, _ in plan[:3])
        more = f" and {len(plan) - 3} more" if len(plan) > 3 else ""
        yield Finding(
            f"The database lacks {len(plan)} of the migrations of this version: {names}{more}.",
            "Make a backup, and run: manage.py migrate",
        )


def owner() -> Iterator[Finding]:
    """Nobody runs the engine, or whoever does has fallen silent."""
    lease = make_lease()
    if not lease.taken():
        last = lease.holder()
        was = f" The last one was {last}." if last else ""
        yield Finding(
            f"No server runs the engine of this database, so events are not taken.{was}",
            "Start the server, and read the end of its log. If one runs, it has another "
            "DATABASE_URL than this command.",
        )
        return
    if not settings.BL_JOURNAL:
        return  # then the owner writes nothing
    row = Owner.objects.filter(alive_at__isnull=False).first()
    if row and row.alive_at and _now() - row.alive_at > OWNER_SILENT:
        yield Finding(
            f"The server {row.name} holds the engine, and has written nothing since "
            f"{_said(row.alive_at)}.",
            "Ask its /health for the reason. If it does not answer, restart it: nothing that was "
            "accepted is lost.",
        )


def behind() -> Iterator[Finding]:
    """Snapshots no longer follow the journal: patterns are stored late, or upkeep has trouble."""
    if not settings.BL_JOURNAL:
        return
    done = Snapshot.objects.exclude(digest="").aggregate(at=Max("position"))["at"] or 0
    first = JournalEntry.objects.filter(position__gt=done).order_by("position").first()
    newest = JournalEntry.objects.order_by("-position").first()
    if first is None or newest is None:
        return
    waited = timedelta(milliseconds=now_ms() - first.arrival)
    if waited > UNSAVED and newest.arrival - first.arrival > UNSAVED / timedelta(milliseconds=1):
        yield Finding(
            f"No snapshot holds what has come since {_said(to_datetime(first.arrival))} "
            f"({newest.position - done:,} entries of the journal): the server is behind with "
            "storing what it found, or its upkeep meets trouble. After a restart all of it would "
            "be read again.",
            "Read its log for warnings of the publisher and the upkeep, and compare "
            "behaviourlens_outbox_changes of /metrics with its capacity.",
        )


def clocks() -> Iterator[Finding]:
    """This machine's clock, the database's, and the time that the engine has come to."""
    here = now_ms()
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            apart = (to_ms(cursor.fetchone()[0]) - here) / 1000
        if abs(apart) > CLOCKS_S:
            way = "ahead of" if apart > 0 else "behind"
            yield Finding(
                f"The database's clock is {abs(apart):.0f} s {way} this machine's.",
                "Set both by a time server (timedatectl set-ntp true).",
            )
    newest = JournalEntry.objects.order_by("-position").first()
    ahead = (newest.arrival - here) / 1000 if newest else 0
    if ahead > CLOCKS_S:
        yield Finding(
            f"The newest event came {ahead:.0f} s in the future, by this machine's clock: it was "
            "set back, or the server runs on a machine whose clock is ahead.",
            "Set both by a time server. Until the clock has caught up, events are timed from where "
            "it was, 1/16 slower; nothing is lost.",
        )


def refused() -> Iterator[Finding]:
    """Who was turned away at the door within the last hour."""
    lately = RefusedSender.objects.filter(last_at__gt=_now() - REFUSED_WITHIN)
    for row in lately.select_related("site").order_by("code", "-last_at"):
        times = f"{row.count:,} times since {_said(row.first_at)}, last {_said(row.last_at)}"
        if row.code == "origin":
            site = f" for {row.site.name}" if row.site else ""
            yield Finding(
                f"Events from {row.sender or 'an origin without a name'} are refused{site}: it is "
                f"none of the origins allowed ({times}).",
                "If the site is yours, add the origin to it in the admin, under Sites, one a line, "
                "exactly as written here. If not, somebody uses your key, and nothing is to be "
                "done.",
            )
        elif row.sender:
            yield Finding(
                f"Events come with a write key that no site has; it begins with {row.sender} "
                f"({times}).",
                "Put the site's key, which the admin shows under Sites, into data-site of the "
                "page's script tag.",
            )
        else:
            yield Finding(
                f"Events come without a write key ({times}).",
                'Give the page\'s script tag data-site="KEY"; the admin shows the whole tag under '
                'Sites. A server that sends events names it as "site" or as ?site=KEY.',
            )


def silent_sites() -> Iterator[Finding]:
    """Sites of which nothing has been heard for a day."""
    if not settings.BL_JOURNAL:
        return
    since = _now() - SILENT
    for site in Site.objects.filter(created_at__lt=since):
        events = JournalEntry.objects.filter(site=site, kind=JournalEntry.Kind.EVENTS)
        if events.filter(arrival__gt=to_ms(since)).exists():
            continue
        last = events.aggregate(at=Max("arrival"))["at"]
        heard = f"the last came {_said(to_datetime(last))}" if last else "none is kept"
        yield Finding(
            f"No event has come from {site.name} for 24 hours; {heard}.",
            "Open a page of it, and look in the browser's console for lens and in its network for "
            "POST /events: what that is answered says why. If the site is gone, delete it.",
        )


def disk() -> Iterator[Finding]:
    """Where the database or the server's own folder lies, there is hardly any room."""
    folders = {"what the server keeps for itself": settings.VAR_DIR}
    if connection.vendor == "sqlite":
        folders = {"the database": Path(connection.settings_dict["NAME"]).resolve().parent}
    for what, folder in folders.items():
        place = next(parent for parent in (folder, *folder.parents) if parent.exists())
        usage = shutil.disk_usage(place)
        if usage.free < min(usage.total * LEAST_FREE, ENOUGH_FREE):
            yield Finding(
                f"The disk of {what} ({place}) is nearly full: {usage.free / 1e6:,.0f} MB of "
                f"{usage.total / 1e6:,.0f} MB are free.",
                "Make room: a smaller BL_JOURNAL_MAX_MB or BL_JOURNAL_RETENTION lets the server "
                "delete what is old. On a full disk events are answered 503, and nothing that was "
                "accepted is lost.",
            )


def files() -> Iterator[Finding]:
    """Files that pages need, and the tracker, are not where they are looked for."""
    missing = [name for name in FILES if finders.find(name) is None]
    missing += [] if SCRIPT.exists() else [SCRIPT.name]
    if missing:
        yield Finding(
            f"Static files are missing: {', '.join(missing)}.",
            "The copy of the program is not whole, or its packages are not: install it again, with "
            "pip install -r requirements.txt.",
        )


def tokens() -> Iterator[Finding]:
    """Tokens whose users will soon be, or have just been, turned away."""
    now = _now()
    near = ApiToken.objects.filter(
        expires_at__gt=now - TOKENS_WITHIN, expires_at__lt=now + TOKENS_WITHIN
    )
    for token in near.order_by("expires_at"):
        when = "expires" if token.expires_at > now else "has expired"
        yield Finding(
            f"The API token “{token.name}” ({token.hint}…) {when}: {_said(token.expires_at)}.",
            "Make another in the admin, under API tokens, give it to whoever uses it, and delete "
            "this one.",
        )


# In this order; the first stands alone, for the others ask tables that may not be there.
FIRST: Final[tuple[Examination, ...]] = (files, disk, migrations)
OF_THE_DATABASE: Final[tuple[Examination, ...]] = (
    owner, behind, clocks, refused, silent_sites, tokens,
)  # fmt: skip


def _now() -> datetime:
    return to_datetime(now_ms())


def _said(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
