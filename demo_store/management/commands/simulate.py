"""`manage.py simulate`: steady, known traffic through the real endpoint."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from rich.console import Console
from rich.live import Live

from demo_store.simulator import arguments, report
from demo_store.simulator.runner import Options, Run, signals, tasks

LIVE_S = 0.25
LINE_S = 5.0


class Command(BaseCommand):
    help = (
        "Plays virtual visitors of Verse against a running server: normal browsing, hesitation, "
        "navigation loops, checkout abandonment and full purchases, at once. Shows what was sent, "
        "and whether the server saw the patterns that it had to see."
    )
    # It needs a server, not a database, and runs where this one's settings are incomplete.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--users",
            type=arguments.users,
            default=10,
            help="visitors at a time, 1 to 5000 (default: 10)",
        )
        parser.add_argument(
            "--rate",
            type=arguments.rate,
            default=500,
            help="mean ms between a visitor's events, 1 to 10000; idle spells take their real time "
            "(default: 500)",
        )
        parser.add_argument(
            "--duration",
            type=arguments.duration,
            help="how long visitors play: 90s, 3m, 1h30m (default: until Ctrl-C)",
        )
        parser.add_argument(
            "--url",
            type=arguments.url,
            default=f"http://127.0.0.1:{settings.PORT}",
            help="address of the server (default: %(default)s)",
        )
        parser.add_argument(
            "--seed",
            type=int,
            help="the same seed plays the same journeys (default: a new one, shown)",
        )
        parser.add_argument(
            "--site", default="", metavar="KEY", help="write key of a site (default: none)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        seed = options["seed"]
        run = Run(
            Options(
                url=options["url"],
                users=options["users"],
                rate_ms=options["rate"],
                duration_s=options["duration"],
                seed=secrets.randbelow(2**32) if seed is None else seed,
                site=options["site"],
                run=secrets.token_hex(4),
                leave_grace_s=settings.BL_LEAVE_GRACE,
            )
        )
        self.stdout.write(report.opening(run.options))
        self.stdout.flush()
        terminal = self.stdout.isatty()
        asyncio.run(self._go(run, terminal))
        width = min(Console().width, report.WIDTH) if terminal else report.WIDTH
        self.stdout.write(report.text(report.summary(run), width, colour=terminal))
        if run.ledger.sent and not run.ledger.accepted:
            raise SystemExit(1)

    async def _go(self, run: Run, terminal: bool) -> None:
        progress = self._live(run) if terminal else self._log(run)
        with signals(run.stops.ask):
            async with progress:
                await run.go()

    @contextlib.asynccontextmanager
    async def _live(self, run: Run) -> AsyncIterator[None]:
        with Live(report.live(run), auto_refresh=False, transient=True) as display:

            async def refresh() -> None:
                while True:
                    await asyncio.sleep(LIVE_S)
                    display.update(report.live(run), refresh=True)

            async with tasks([refresh()]):
                yield

    @contextlib.asynccontextmanager
    async def _log(self, run: Run) -> AsyncIterator[None]:
        async def write() -> None:
            while True:
                await asyncio.sleep(LINE_S)
                self.stdout.write(report.plain_line(run))
                self.stdout.flush()

        async with tasks([write()]):
            yield
