"""The door under Daphne: what is refused before an application hears of a request.

Daphne hands a request on when its body is whole, and holds all of it in memory from then on,
however large it is. So here is where bodies are bounded, each by itself and all together, and where
events are sent away while there are too many. The body of what is refused is read to its end and
not kept, so that the connection lives on.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Final

import daphne.http_protocol  # type: ignore[import-untyped]
import msgspec

from detection.admission import Admission
from detection.wire import error_body

if TYPE_CHECKING:
    from detection.runtime import Counters

# Of one body, bytes: more than anything here has use for, and than Django takes.
MOST_OF_ONE: Final = 4 * 1024 * 1024
# Of all bodies that are being read or answered, bytes.
MOST_OF_ALL: Final = 64 * 1024 * 1024
EVENTS: Final = (b"/events", b"/events/")
BUSY: Final = "Too many events are waiting; send them again shortly."


class Door:
    """What all requests of a process share. held: bytes of bodies that are in memory."""

    def __init__(self, admission: Admission, counters: "Counters") -> None:
        self.admission = admission
        self.counters = counters
        self.held = 0


class DoorRequest(daphne.http_protocol.WebRequest):
    """Daphne's request, with a body that is bounded, and let in or not."""

    door: ClassVar[Door]

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self._held = 0
        self._refusal = 0  # its status
        self._inside = False
        # Twisted would read forms as well, which is Django's to do, and takes a fifth of the time.
        super().__init__(*arguments, parsePOSTFormSubmission=False, **more)

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802  (Twisted's name)
        size = len(data)
        if not self._refusal:
            if self._held + size > MOST_OF_ONE:
                self._refusal = 413
            elif self.door.held + size > MOST_OF_ALL:
                self._refusal = 503
        if self._refusal:
            self._let_go()
            self.content.seek(0)
            self.content.truncate()
            return
        self._held += size
        self.door.held += size
        super().handleContentChunk(data)

    def process(self) -> Any:
        """Called when the body is whole."""
        if not self._refusal and self.method == b"POST" and self.path in EVENTS:
            self._inside = self.door.admission.enter()
            self._refusal = 0 if self._inside else 503
        if not self._refusal:
            return super().process()
        if self._refusal == 413:
            self._refuse(error_body("too_large", "The body is larger than any that is of use."))
        else:
            self._refuse(error_body("busy", BUSY), (b"retry-after", b"1"))
        return None

    def _refuse(self, said: dict[str, Any], *headers: tuple[bytes, bytes]) -> None:
        self.door.counters.refused(said["error"]["code"])
        body = msgspec.json.encode(said)
        self.setResponseCode(self._refusal)
        for name, value in (
            *headers,
            (b"access-control-allow-origin", b"*"),
            (b"access-control-expose-headers", b"retry-after"),
            (b"x-content-type-options", b"nosniff"),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ):
            self.responseHeaders.addRawHeader(name, value)
        self.write(body)
        self.finish()

    def finish(self) -> None:
        self._let_go()
        super().finish()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802  (Twisted's name)
        self._let_go()
        super().connectionLost(reason)

    def _let_go(self) -> None:
        self.door.held -= self._held
        self._held = 0
        if self._inside:
            self._inside = False
            self.door.admission.leave()


def put_up(admission: Admission, counters: "Counters") -> None:
    """From now on Daphne's requests come through a door."""
    DoorRequest.door = Door(admission, counters)
    daphne.http_protocol.WebRequest = DoorRequest
