"""Attempts to tell a subscriber, on the wire (docs/deliveries.md): additions to Zaqar's API."""

from nuska.core.deliveries import Attempt, Attempts
from nuska.core.subscription_records import Trouble
from nuska.domain.errors import InvalidBody
from nuska.domain.moments import Moment, iso
from nuska.domain.positions import MessageId
from nuska.transport.wire.json import decode_object, encode


def encode_attempts(found: Attempts, links: bytes) -> bytes:
    items = encode([_shown(attempt) for attempt in found.attempts])
    trouble = encode(_in_words(found.trouble))
    return b'{"attempts": ' + items + b', "trouble": ' + trouble + b", " + links + b"}"


def encode_trial(message_id: MessageId) -> bytes:
    return encode({"message_id": message_id})


def decode_replay(data: bytes) -> int:
    """How many seconds back."""
    since = decode_object(data).get("since") if data else None
    if not isinstance(since, int):  # a boolean passes as the integer it is (contract README §12)
        raise InvalidBody('The request body must have "since", a number of seconds.')
    return int(since)


def _in_words(trouble: Trouble | None) -> dict[str, object] | None:
    if trouble is None:
        return None
    return {
        "since": iso(trouble.since),
        "error": trouble.error,
        "failures": trouble.failures,
        "next_at": iso(trouble.next_at),
    }


def _shown(attempt: Attempt) -> dict[str, object]:
    shown: dict[str, object] = {} if attempt.letter is None else {"letter": attempt.letter}
    return {
        "message_id": attempt.message or None,
        **shown,
        "attempt": attempt.number,
        "at": iso(attempt.at),
        "ok": attempt.ok,
        "status": attempt.status,
        "error": attempt.error,
        "latency_ms": attempt.latency,
        "next_at": None if attempt.next_at is None else iso(Moment(attempt.next_at)),
    }
