"""The wire format of POST /events: decoding and validating, in one pass at the edge.

What is refused is refused with the name of the field. `detection.cleaning` makes the engine's
events of the rest; past that nobody touches a raw value.
"""

import re
import zlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw

from detection.engine.events import ACTIONS

MAX_BODY = 1024 * 1024  # bytes, before and after inflating
MAX_EVENTS = 1000
MAX_TIMESTAMP = 2**53 - 1
MAX_PAGE = 2048
MAX_METADATA_KEYS = 16
MAX_METADATA_KEY = 64
MAX_METADATA_VALUE = 512

# What an id may be that is kept as it was sent.
NO_CONTROLS = r"^[^\x00-\x1f\x7f]*$"

Scalar = str | int | float | bool | None

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PATH_IN_ERROR = re.compile(r"at `\$(?:\[\d+\]|\[\.\.\.\])?\.?(?:key )?(\w+)?")
_MISSING_IN_ERROR = re.compile(r"missing required field `(\w+)`")


class WireError(Exception):
    """A request that is refused whole.

    status: the HTTP status that says so. retry_after: seconds after which the same request may be
    taken, 0 where it never will be.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        field: str | None = None,
        retry_after: int = 0,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.retry_after = retry_after


def error_body(code: str, message: str, field: str | None = None) -> dict[str, Any]:
    """The body of every error that is answered as JSON."""
    return {"error": {"code": code, "message": message, "field": field}}


class Rejected(msgspec.Struct, frozen=True):
    """One event of several that was refused. index: its place in what was sent, from 0."""

    index: int
    field: str | None
    message: str


class WireEvent(msgspec.Struct, frozen=True):
    """An event as it is sent."""

    user_id: Annotated[str, Meta(min_length=1, max_length=128)]
    action: Literal[tuple(sorted(ACTIONS))]  # type: ignore[valid-type]
    page: Annotated[str, Meta(min_length=1, max_length=MAX_PAGE)]
    timestamp: Annotated[int, Meta(ge=0, le=MAX_TIMESTAMP)]
    view: Annotated[str, Meta(max_length=64)] = ""
    metadata: dict[str, Scalar] | None = None


class _Frame(msgspec.Struct, frozen=True):
    """What stands around events."""

    site: Annotated[str, Meta(max_length=64)] = ""
    batch: Annotated[str, Meta(max_length=64, pattern=NO_CONTROLS)] = ""
    sent_at: Annotated[int, Meta(ge=0, le=MAX_TIMESTAMP)] | None = None
    bot: bool = False


class _Envelope(_Frame, frozen=True, kw_only=True):
    events: list[WireEvent]


class _RawEnvelope(_Frame, frozen=True, kw_only=True):
    events: list[Raw]


class Submission(msgspec.Struct, frozen=True):
    """A decoded request: the events that can be used, and those that were refused.

    events: (index, event) pairs. single: it was one bare event, so the answer is the short one.
    """

    site: str
    batch: str
    sent_at: int | None
    bot: bool
    single: bool
    events: list[WireEvent]
    rejected: list[Rejected]


_envelope = msgspec.json.Decoder(_Envelope)
_raw_envelope = msgspec.json.Decoder(_RawEnvelope)
_array = msgspec.json.Decoder(list[WireEvent])
_raw_array = msgspec.json.Decoder(list[Raw])
_raw_object = msgspec.json.Decoder(dict[str, Raw])
_frame = msgspec.json.Decoder(_Frame)
_event = msgspec.json.Decoder(WireEvent)


def inflate(body: bytes) -> bytes:
    """The body itself, or what a gzip body holds; never more than MAX_BODY."""
    if len(body) > MAX_BODY:
        raise too_large()
    if body[:2] != b"\x1f\x8b":
        return body
    stream = zlib.decompressobj(wbits=31)
    try:
        plain = stream.decompress(body, MAX_BODY + 1)
    except zlib.error:
        raise WireError(400, "malformed", "The body is not gzip, as it says it is.") from None
    if len(plain) > MAX_BODY:
        raise too_large()
    if not stream.eof:
        raise WireError(400, "malformed", "The gzip body is cut short.")
    if stream.unused_data:
        raise WireError(400, "malformed", "Something follows the end of the gzip body.")
    return plain


def too_large() -> WireError:
    return WireError(413, "too_large", f"The body may hold at most {MAX_BODY} bytes, inflated too.")


def decode(body: bytes) -> Submission:
    """Read one event, an array of events or an envelope. Raises WireError."""
    try:
        first = body.lstrip()[:1]
        if first == b"[":
            return _decode_array(body)
        if first == b"{":
            return _decode_object(body)
        if not first:
            raise WireError(400, "malformed", "The body is empty; send JSON.")
        msgspec.json.decode(body)
    except msgspec.ValidationError as error:
        raise WireError(400, "invalid", *explain(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise WireError(400, "malformed", "The body is not valid JSON.") from None
    except RecursionError:
        raise WireError(400, "malformed", "The JSON is nested too deeply.") from None
    raise WireError(400, "invalid", "Send an event, an array of events, or an envelope.")


def _decode_array(body: bytes) -> Submission:
    try:
        return _submission(_Frame(), _array.decode(body), [])
    except msgspec.ValidationError:
        return _submission(_Frame(), *_one_by_one(_raw_array.decode(body)))


def _decode_object(body: bytes) -> Submission:
    try:
        envelope = _envelope.decode(body)
        return _submission(envelope, envelope.events, [])
    except msgspec.ValidationError:
        if "events" in _raw_object.decode(body):
            raw = _raw_envelope.decode(body)
            return _submission(raw, *_one_by_one(raw.events))
    event = _event.decode(body)
    problem = _problem(event)
    if problem is not None:
        raise WireError(400, "invalid", problem[0], problem[1])
    return _submission(_frame.decode(body), [event], [], single=True)


def _submission(
    frame: _Frame, events: list[WireEvent], rejected: list[Rejected], single: bool = False
) -> Submission:
    if len(events) + len(rejected) > MAX_EVENTS:
        raise WireError(413, "too_many", f"At most {MAX_EVENTS} events a request.", "events")
    if not rejected and any(map(_problem, events)):
        events, rejected = _sift(events)
    if not events:
        if not rejected:
            raise WireError(400, "invalid", "There are no events.", "events")
        only = rejected[0]
        raise WireError(
            400, "invalid", f"None of the events is valid. The first: {only.message}", only.field
        )
    return Submission(frame.site, frame.batch, frame.sent_at, frame.bot, single, events, rejected)


def _sift(events: Sequence[WireEvent]) -> tuple[list[WireEvent], list[Rejected]]:
    kept, rejected = [], []
    for index, event in enumerate(events):
        problem = _problem(event)
        if problem is None:
            kept.append(event)
        else:
            rejected.append(Rejected(index, problem[1], problem[0]))
    return kept, rejected


def _one_by_one(raws: Sequence[Raw]) -> tuple[list[WireEvent], list[Rejected]]:
    """Decode events each for itself, so that a bad one does not take the others with it."""
    if len(raws) > MAX_EVENTS:
        raise WireError(413, "too_many", f"At most {MAX_EVENTS} events a request.", "events")
    events, rejected = [], []
    for index, raw in enumerate(raws):
        try:
            event = _event.decode(raw)
            problem = _problem(event)
        except msgspec.ValidationError as error:
            problem = explain(error)
        if problem is None:
            events.append(event)
        else:
            rejected.append(Rejected(index, problem[1], problem[0]))
    return events, rejected


def _problem(event: WireEvent) -> tuple[str, str | None] | None:
    """What the type cannot say: (message, field), or None where all is well."""
    if not event.user_id.isprintable() and _CONTROL.search(event.user_id):
        return "user_id holds control characters", "user_id"
    metadata = event.metadata
    if metadata:
        if len(metadata) > MAX_METADATA_KEYS:
            return f"metadata holds more than {MAX_METADATA_KEYS} keys", "metadata"
        if any(len(key) > MAX_METADATA_KEY for key in metadata):
            return f"metadata has a key longer than {MAX_METADATA_KEY} characters", "metadata"
    return None


_WORDS = (
    (re.compile(r"^Expected `str` of length >= 1$"), "must not be empty"),
    (re.compile(r"^Expected `str` of length <= (\d+)$"), r"must have at most \1 characters"),
    (re.compile(r"^Expected `int` >= (-?\d+)$"), r"must be at least \1"),
    (re.compile(r"^Expected `int` <= (\d+)$"), r"must be at most \1"),
    (re.compile(r"^Expected `int( \| null)?`, got .*$"), "must be an integer"),
    (re.compile(r"^Expected `str`, got .*$"), "must be a string"),
    (re.compile(r"^Expected `str` matching regex .*$"), "must hold no control characters"),
    (re.compile(r"^Expected `bool`, got .*$"), "must be true or false"),
    (re.compile(r"^Expected `array`, got .*$"), "must be an array"),
    (re.compile(r"^Expected `bool \| int.*$"), "values must be strings, numbers or booleans"),
    (re.compile(r"^Expected `object( \| null)?`, got .*$"), "must be an object"),
    (re.compile(r"^Invalid enum value .*$"), f"must be one of {', '.join(sorted(ACTIONS))}"),
)


def explain(error: msgspec.ValidationError) -> tuple[str, str | None]:
    """A validation error as (message, field)."""
    text = str(error)
    if found := _MISSING_IN_ERROR.search(text):
        return f"{found[1]} is missing", found[1]
    path = _PATH_IN_ERROR.search(text)
    field = path[1] if path else None
    problem = text.partition(" - at ")[0]
    for pattern, words in _WORDS:
        if pattern.match(problem):
            return f"{field or 'an event'} {pattern.sub(words, problem)}", field
    problem = problem.replace("`", "")
    return f"{field}: {problem[:1].lower()}{problem[1:]}" if field else problem, field
