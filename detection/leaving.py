"""How requests that are still open end when the server ends."""

import asyncio

from detection.ingest import Application, Receive, Scope, Send


class LeaveInOrder:
    """An ASGI application that remembers its event loop, so that `end` can finish what is open.

    Daphne stops its loop on SIGTERM with open streams, and at times requests, still pending.
    Nobody would wake them again, and the interpreter can crash on them when it ends.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        await self._application(scope, receive, send)

    def end(self) -> None:
        """Cancel what is pending, where the loop has stopped and has not done so itself."""
        loop = self._loop
        if loop is None or loop.is_running() or loop.is_closed():
            return
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
