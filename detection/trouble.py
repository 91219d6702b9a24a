"""Whether the database refuses: who met it, since when, and said once in the log."""

import logging
import threading

from django.db import InterfaceError, InternalError, OperationalError, ProgrammingError

logger = logging.getLogger(__name__)

# What passes when the database is well again, or migrated. Any other error is the data's own.
# InternalError: PostgreSQL that takes no writes, such as a server that another has followed.
TROUBLE = (OperationalError, InterfaceError, InternalError, ProgrammingError)


class DatabaseTrouble:
    """Shared by the threads that write. The first to meet trouble has it logged; it is over when
    each that met it has written again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._met: dict[str, str] = {}
        self._last = ""

    def met(self, who: str, error: BaseException) -> None:
        """`who` (a thread's name) could not write."""
        said = " ".join(str(error).split()) or type(error).__name__
        with self._lock:
            first = not self._met
            self._met[who] = said
            self._last = said
        if first:
            hint = " Is it migrated? (python manage.py migrate)" if _no_table(said) else ""
            logger.error(
                "The database refuses: %s.%s Events are answered 503 until it takes them again;"
                " patterns wait in memory.",
                said.rstrip("."),
                hint,
            )

    def over(self, who: str) -> None:
        """`who` has written."""
        if who not in self._met:
            return
        with self._lock:
            self._met.pop(who, None)
            last = not self._met
        if last:
            logger.info("The database answers again; nothing that was accepted is lost.")

    @property
    def reason(self) -> str:
        """What the database last said; "" while all is well."""
        return self._last if self._met else ""


def _no_table(said: str) -> bool:
    return "no such table" in said or "does not exist" in said
