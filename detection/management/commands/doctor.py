"""`manage.py doctor`: what is wrong, in plain words, and how to mend it."""

import sys
from collections.abc import Iterator
from typing import Any

from django.core.checks import WARNING, CheckMessage, run_checks
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, Error

from detection import doctor, visit
from detection.doctor import Finding

# A server that runs is what the doctor hopes to find.
AS_IT_SHOULD_BE = "detection.W001"


class Command(BaseCommand):
    help = (
        "Say what is wrong with this deployment and how to mend it. Ends with 1 where something "
        "is, with 0 where nothing is. Dangerous settings are told as well, and do not count."
    )
    requires_system_checks = []  # it runs them itself, and says what they say in its own way

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--url", default="", help="a running server to ask as well: http://127.0.0.1:8000"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = [*self._examine(), *(visit.findings(options["url"]) if options["url"] else ())]
        except ValueError as error:
            raise CommandError(str(error)) from None
        for number, finding in enumerate(found, start=1):
            self.stdout.write(self.style.ERROR(f"{number}. {finding.wrong}"))
            self.stdout.write(f"   To mend it: {finding.mend}\n\n")
        for message in _worth_knowing():
            self.stdout.write(self.style.WARNING(f"By the way ({message.id}): {message.msg}"))
            self.stdout.write(f"   {message.hint or ''}".rstrip() + "\n\n")
        if found:
            things = "thing is" if len(found) == 1 else "things are"
            self.stdout.write(f"{len(found)} {things} wrong.")
            sys.exit(1)
        self.stdout.write(self.style.SUCCESS("Nothing is wrong."))

    def _examine(self) -> Iterator[Finding]:
        try:
            first = [finding for examine in doctor.FIRST for finding in examine()]
            yield from first
            if any(doctor.migrations()):
                return  # the tables that the others ask may not be there
            for examine in doctor.OF_THE_DATABASE:
                yield from examine()
        except Error as error:
            yield Finding(
                f"The database does not answer: {str(error).strip()}.",
                "See whether it runs, and whether DATABASE_URL is the server's own. While it is "
                "away, events are answered 503, and nothing that was accepted is lost.",
            )


def _worth_knowing() -> list[CheckMessage]:
    """What our system checks say of the settings."""
    messages = run_checks(databases=[DEFAULT_DB_ALIAS])
    return [
        message
        for message in messages
        if message.level >= WARNING
        and str(message.id).startswith("detection.")
        and message.id != AS_IT_SHOULD_BE
    ]
