"""The wire format: each rule one either side of its limit."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detection import cleaning, wire
from detection.engine.events import ACTIONS
from detection.wire import Submission, WireError

ARRIVAL = 1_800_000_000_000
MIB = 1024 * 1024


def event(**changes: Any) -> dict[str, Any]:
    """A good event with `changes`; a value of ... leaves the field out."""
    fields = {
        "user_id": "u1",
        "action": "click",
        "page": "/products",
        "timestamp": ARRIVAL,
        "metadata": {},
    } | changes
    return {name: value for name, value in fields.items() if value is not ...}


def decode(payload: object) -> Submission:
    return wire.decode(json.dumps(payload).encode())


def refused(payload: object) -> WireError:
    with pytest.raises(WireError) as caught:
        wire.decode(payload if isinstance(payload, bytes) else json.dumps(payload).encode())
    return caught.value


# --- the fields of an event -----------------------------------------------------------

GOOD = {
    "user_id of 1": {"user_id": "u"},
    "user_id of 128": {"user_id": "u" * 128},
    "user_id of 128 characters beyond the BMP": {"user_id": "\N{WAVING HAND SIGN}" * 128},
    "user_id with a slash": {"user_id": "a/b/../c"},
    "user_id of mark-up": {"user_id": "<script>alert(1)</script>"},
    "user_id that turns the text round": {"user_id": "\u202eabc"},
    "page of 1": {"page": "/"},
    "page of 2048": {"page": "/" + "p" * 2047},
    "timestamp 0": {"timestamp": 0},
    "timestamp 2^53-1": {"timestamp": 2**53 - 1},
    "no metadata": {"metadata": ...},
    "metadata null": {"metadata": None},
    "16 metadata keys": {"metadata": {f"k{n}": n for n in range(16)}},
    "metadata value of 512": {"metadata": {"a": "x" * 512}},
    "metadata value of 513, which is cut": {"metadata": {"a": "x" * 513}},
    "metadata key of 64": {"metadata": {"k" * 64: 1}},
    "metadata with an integer of 30 digits": {"metadata": {"a": 10**30}},
    "no view": {"view": ...},
    "view of 64": {"view": "v" * 64},
    "a field that nobody knows": {"colour": {"any": ["thing"]}},
}


@pytest.mark.parametrize("changes", GOOD.values(), ids=GOOD.keys())
def test_a_good_event_is_taken(changes: dict[str, Any]) -> None:
    submission = decode(event(**changes))
    assert len(submission.events) == 1
    assert submission.rejected == []


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_every_action_is_taken(action: str) -> None:
    assert decode(event(action=action)).events[0].action == action


BAD = {
    "user_id missing": ("user_id", {"user_id": ...}, "user_id is missing"),
    "user_id empty": ("user_id", {"user_id": ""}, "user_id must not be empty"),
    "user_id of 129": ("user_id", {"user_id": "u" * 129}, "user_id must have at most 128 char"),
    "user_id a number": ("user_id", {"user_id": 7}, "user_id must be a string"),
    "user_id null": ("user_id", {"user_id": None}, "user_id must be a string"),
    "user_id with a NUL": ("user_id", {"user_id": "a\0"}, "user_id holds control characters"),
    "user_id with a newline": ("user_id", {"user_id": "a\nb"}, "user_id holds control characters"),
    "action missing": ("action", {"action": ...}, "action is missing"),
    "action unknown": ("action", {"action": "fly"}, "action must be one of abandon, click"),
    "action in capitals": ("action", {"action": "CLICK"}, "action must be one of"),
    "action an array": ("action", {"action": ["click"]}, "action must be a string"),
    "page missing": ("page", {"page": ...}, "page is missing"),
    "page empty": ("page", {"page": ""}, "page must not be empty"),
    "page of 2049": ("page", {"page": "/" + "p" * 2048}, "page must have at most 2048 characters"),
    "page an object": ("page", {"page": {}}, "page must be a string"),
    "timestamp missing": ("timestamp", {"timestamp": ...}, "timestamp is missing"),
    "timestamp -1": ("timestamp", {"timestamp": -1}, "timestamp must be at least 0"),
    "timestamp 2^53": ("timestamp", {"timestamp": 2**53}, f"timestamp must be at most {2**53 - 1}"),
    "timestamp of 30 digits": ("timestamp", {"timestamp": 10**30}, "timestamp must be at most"),
    "timestamp a float": ("timestamp", {"timestamp": 1.0}, "timestamp must be an integer"),
    "timestamp a string": ("timestamp", {"timestamp": "1"}, "timestamp must be an integer"),
    "timestamp true": ("timestamp", {"timestamp": True}, "timestamp must be an integer"),
    "timestamp null": ("timestamp", {"timestamp": None}, "timestamp must be an integer"),
    "17 metadata keys": (
        "metadata",
        {"metadata": {f"k{n}": n for n in range(17)}},
        "metadata holds more than 16 keys",
    ),
    "metadata key of 65": (
        "metadata",
        {"metadata": {"k" * 65: 1}},
        "metadata has a key longer than 64 characters",
    ),
    "metadata nested": (
        "metadata",
        {"metadata": {"a": {"b": 1}}},
        "metadata values must be strings, numbers or booleans",
    ),
    "metadata with a list": (
        "metadata",
        {"metadata": {"a": [1]}},
        "metadata values must be strings, numbers or booleans",
    ),
    "metadata a list": ("metadata", {"metadata": []}, "metadata must be an object"),
    "metadata a string": ("metadata", {"metadata": "x"}, "metadata must be an object"),
    "view of 65": ("view", {"view": "v" * 65}, "view must have at most 64 characters"),
    "view null": ("view", {"view": None}, "view must be a string"),
}


@pytest.mark.parametrize(("field", "changes", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_field_is_named(field: str, changes: dict[str, Any], message: str) -> None:
    alone = refused(event(**changes))
    assert (alone.status, alone.code, alone.field) == (400, "invalid", field)
    assert alone.message.startswith(message)

    # The same among others: it is refused by itself, and they are taken.
    among = decode([event(user_id="first"), event(**changes), event(user_id="last")])
    assert [e.user_id for e in among.events] == ["first", "last"]
    (rejected,) = among.rejected
    assert (rejected.index, rejected.field) == (1, field)
    assert rejected.message == alone.message


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 5000])
@pytest.mark.parametrize("where", ["timestamp", "metadata"])
def test_numbers_beyond_all_bounds_are_refused(number: str, where: str) -> None:
    body = json.dumps(event(**{where: "HERE" if where == "timestamp" else {"a": "HERE"}}))
    error = refused(body.replace('"HERE"', number).encode())
    assert (error.status, error.field) == (400, where)


# --- what stands around events --------------------------------------------------------


def test_a_bare_event_is_single() -> None:
    submission = decode(event())
    assert submission.single
    assert (submission.site, submission.batch, submission.sent_at) == ("", "", None)


def test_a_bare_event_may_name_its_site_and_clock() -> None:
    submission = decode(event(site="key", batch="b1", sent_at=5))
    assert submission.single
    assert (submission.site, submission.batch, submission.sent_at) == ("key", "b1", 5)


def test_an_array_is_not_single() -> None:
    assert not decode([event()]).single


def test_an_envelope_keeps_what_is_written_on_it() -> None:
    submission = decode({"site": "key", "batch": "b1", "sent_at": 5, "events": [event()]})
    assert not submission.single
    assert (submission.site, submission.batch, submission.sent_at) == ("key", "b1", 5)
    assert not submission.bot


def test_an_envelope_keeps_what_is_written_on_it_when_events_are_refused() -> None:
    events = [event(), event(action="fly")]
    submission = decode({"site": "k", "batch": "b", "sent_at": 5, "bot": True, "events": events})
    assert (submission.site, submission.batch, submission.sent_at) == ("k", "b", 5)
    assert submission.bot
    assert [r.index for r in submission.rejected] == [1]


FRAMES = {
    "site a number": ("site", {"site": 1}, "site must be a string"),
    "site of 65": ("site", {"site": "s" * 65}, "site must have at most 64 characters"),
    "batch with a NUL": ("batch", {"batch": "b\0"}, "batch must hold no control characters"),
    "batch of 65": ("batch", {"batch": "s" * 65}, "batch must have at most 64 characters"),
    "sent_at a string": ("sent_at", {"sent_at": "now"}, "sent_at must be an integer"),
    "sent_at a float": ("sent_at", {"sent_at": 1.5}, "sent_at must be an integer"),
    "sent_at -1": ("sent_at", {"sent_at": -1}, "sent_at must be at least 0"),
    "sent_at 2^53": ("sent_at", {"sent_at": 2**53}, "sent_at must be at most"),
    "bot a string": ("bot", {"bot": "yes"}, "bot must be true or false"),
    "events an object": ("events", {"events": {}}, "events must be an array"),
    "events null": ("events", {"events": None}, "events must be an array"),
    "no events": ("events", {"events": []}, "There are no events."),
}


@pytest.mark.parametrize(("field", "changes", "message"), FRAMES.values(), ids=FRAMES.keys())
def test_a_bad_envelope_is_refused_whole(field: str, changes: dict[str, Any], message: str) -> None:
    error = refused({"events": [event()]} | changes)
    assert (error.status, error.field) == (400, field)
    assert error.message.startswith(message)


def test_things_that_are_no_events_are_refused_one_by_one() -> None:
    submission = decode([1, event(), None, [], "x"])
    assert [r.index for r in submission.rejected] == [0, 2, 3, 4]
    assert {r.message for r in submission.rejected} == {"an event must be an object"}


def test_where_none_is_valid_the_request_is_refused() -> None:
    error = refused([event(action="fly"), event(page="")])
    assert (error.status, error.field) == (400, "action")
    assert error.message.startswith("None of the events is valid. The first: action must be one of")


def test_events_that_only_sifting_refuses_are_refused_too() -> None:
    error = refused([event(user_id="\x01"), event(user_id="\x02")])
    assert (error.status, error.field) == (400, "user_id")


@pytest.mark.parametrize("shape", [lambda e: e, lambda e: {"events": e}], ids=["array", "envelope"])
def test_a_thousand_events_are_taken_and_one_more_is_not(shape: Any) -> None:
    assert len(decode(shape([event()] * 1000)).events) == 1000
    error = refused(shape([event()] * 1001))
    assert (error.status, error.code, error.field) == (413, "too_many", "events")


@pytest.mark.parametrize("shape", [lambda e: e, lambda e: {"events": e}], ids=["array", "envelope"])
def test_bad_events_count_towards_the_thousand(shape: Any) -> None:
    bad = [event(action="fly")] * 500
    assert len(decode(shape(bad + [event()] * 500)).rejected) == 500
    error = refused(shape(bad + [event()] * 501))
    assert (error.status, error.code, error.field) == (413, "too_many", "events")


# --- bodies that are no JSON, or not ours ----------------------------------------------

GOOD_BODY = json.dumps(event()).encode()
MALFORMED = {
    "nothing": b"",
    "blanks": b" \n\t ",
    "cut short": GOOD_BODY[:-5],
    "something after the end": GOOD_BODY + b"x",
    "another event after the end": GOOD_BODY * 2,
    "no JSON": b"user_id=u1",
    "not a number": b'{"timestamp":NaN}',
    "wrong bytes": b"\xff\xfe\xfd",
    "a byte order mark": b"\xef\xbb\xbf" + GOOD_BODY,
    "bytes that are not UTF-8": GOOD_BODY.replace(b"u1", b"\xff"),
    "the same in an array": b"[" + GOOD_BODY.replace(b"u1", b"\xff") + b"," + GOOD_BODY + b"]",
    "half a surrogate pair": GOOD_BODY.replace(b"u1", b"\\ud800"),
    "deep arrays": b"[" * 200_000,
    "deep objects": b'{"a":' * 100_000,
    "deep events": b'{"events":' + b"[" * 200_000,
    "deep metadata": b'[{"metadata":' + b'{"a":' * 9000 + b"1" + b"}" * 9000 + b"}]",
    "a deep field that nobody knows": b'{"x":' + b"[" * 9000 + b"]" * 9000 + b"}",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_cannot_be_read_is_malformed(body: bytes) -> None:
    error = refused(body)
    assert (error.status, error.code) == (400, "malformed")


@pytest.mark.parametrize("body", [b"1", b"null", b'"x"', b"true", b"-1.5"])
def test_json_that_is_no_event_is_refused(body: bytes) -> None:
    assert refused(body).message == "Send an event, an array of events, or an envelope."


@pytest.mark.parametrize(("body", "field"), [(b"{}", "user_id"), (b"[{}]", "user_id")])
def test_empty_objects_lack_their_first_field(body: bytes, field: str) -> None:
    assert refused(body).field == field


# --- size and gzip -------------------------------------------------------------------


def test_a_plain_body_is_left_as_it_is() -> None:
    assert wire.inflate(GOOD_BODY) is GOOD_BODY


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_mebibyte_is_taken_and_one_more_byte_is_not(pack: Any) -> None:
    assert len(wire.inflate(pack(b" " * MIB))) == MIB
    with pytest.raises(WireError) as caught:
        wire.inflate(pack(b" " * (MIB + 1)))
    assert (caught.value.status, caught.value.code) == (413, "too_large")


def test_a_gzip_bomb_is_not_inflated() -> None:
    bomb = gzip.compress(b"\0" * 200 * MIB)
    assert len(bomb) < MIB
    with pytest.raises(WireError) as caught:
        wire.inflate(bomb)
    assert caught.value.status == 413


PACKED = gzip.compress(GOOD_BODY)
BROKEN_GZIP = {
    "only the first two bytes": b"\x1f\x8b",
    "cut short": PACKED[:-1],
    "half": PACKED[: len(PACKED) // 2],
    "a wrong checksum": PACKED[:-8] + b"\0" * 8,
    "garbage": b"\x1f\x8b" + b"garbage" * 10,
}


@pytest.mark.parametrize("body", BROKEN_GZIP.values(), ids=BROKEN_GZIP.keys())
def test_broken_gzip_is_malformed(body: bytes) -> None:
    with pytest.raises(WireError) as caught:
        wire.inflate(body)
    assert (caught.value.status, caught.value.code) == (400, "malformed")
    assert "gzip" in caught.value.message


@pytest.mark.parametrize("after", [b"more", b"\0", PACKED], ids=["bytes", "padding", "a member"])
def test_what_follows_gzip_is_not_silently_dropped(after: bytes) -> None:
    with pytest.raises(WireError) as caught:
        wire.inflate(PACKED + after)
    assert (caught.value.status, caught.value.code) == (400, "malformed")


# --- anything at all -----------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
almost_events = st.fixed_dictionaries(
    {},
    optional={
        name: st.just(good) | json_values
        for name, good in {
            "user_id": "u",
            "action": "click",
            "page": "/p",
            "timestamp": 1,
            "view": "v",
            "metadata": {"a": 1},
            "site": "",
            "sent_at": 1,
            "bot": False,
        }.items()
    },
)
almost_requests = (
    almost_events
    | st.lists(almost_events | json_values, max_size=4)
    | st.fixed_dictionaries(
        {"events": st.lists(almost_events | json_values, max_size=4) | json_values},
        optional={"site": json_values, "sent_at": json_values, "bot": json_values},
    )
    | json_values
)


def taken_or_refused(body: bytes) -> None:
    """Decoding gives bounded events or raises WireError and nothing else."""
    try:
        submission = wire.decode(wire.inflate(body))
    except WireError:
        return
    for taken in cleaning.clean(submission, 1, ARRIVAL).events:
        assert 1 <= len(taken.user_id) <= 128
        assert 1 <= len(taken.page) <= 2048
        assert 0 <= taken.timestamp <= ARRIVAL
        assert len(taken.view) <= 64
        assert len(taken.metadata or {}) <= 16
        assert all(len(k) <= 64 and len(v) <= 512 for k, v in (taken.metadata or {}).items())
        taken.user_id.encode()  # no half surrogate gets so far


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_else(body: bytes) -> None:
    taken_or_refused(body)


@given(st.binary(max_size=100))
def test_random_bytes_after_the_mark_of_gzip_raise_nothing_else(body: bytes) -> None:
    taken_or_refused(b"\x1f\x8b\x08\x00" + body)


@settings(max_examples=400)
@given(almost_requests)
def test_random_json_raises_nothing_else(payload: object) -> None:
    taken_or_refused(json.dumps(payload).encode())


@given(st.integers(0, len(GOOD_BODY)), st.binary(max_size=4))
def test_a_damaged_event_raises_nothing_else(at: int, damage: bytes) -> None:
    taken_or_refused(GOOD_BODY[:at] + damage + GOOD_BODY[at + len(damage) :])
