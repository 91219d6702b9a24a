"""What the console is spared: news for a caller, not for the operator."""

import logging

from django.core.exceptions import RequestAborted


def is_news(record: logging.LogRecord) -> bool:
    """Whether a record of Django's or asyncio's tells the operator anything.

    An answer 503 is not: whatever caused it (a busy queue, a standby, a database that is away)
    says so itself, once, and load balancers ask /ready every second. Nor is a caller who leaves
    while the server cancels his request: Django's listener then ends with nobody to hear it.
    """
    if getattr(record, "status_code", None) == 503:
        return False
    exception = record.exc_info[1] if record.exc_info else None
    return not isinstance(exception, RequestAborted)
