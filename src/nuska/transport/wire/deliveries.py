"""Attempts to tell a subscriber, on the wire (docs/deliveries.md): additions to Zaqar's API."""

from nuska.core.deliveries import Attempt, Attempts, Standing
from nuska.core.subscription_records import Trouble
from nuska.domain.errors import InvalidBody
from nuska.domain.moments import Moment, iso
from nuska.domain.positions import MessageId
from nuska.transport.wire.json import decode_object, encode
from nuska.transport.wire.subscriptions import disabled_in_words, waiting_in_words

RATE_DIGITS = 4


def encode_attempts(found: Attempts, links: bytes) -> bytes:
    items = encode([_shown(attempt) for attempt in found.attempts])
    trouble = encode(_in_words(found.trouble))
    if found.waiting is not None:
        trouble += b', "waiting": ' + encode(waiting_in_words(found.waiting))
    return b'{"attempts": ' + items + b', "trouble": ' + trouble + b", " + links + b"}"


def encode_standing(standing: Standing) -> bytes:
    tally, disabled, waiting = standing.tally, standing.disabled, standing.waiting
    return encode(
        {
            "state": _state(standing),
            "since": iso(standing.since),
            "attempts": tally.attempts,
            "succeeded": tally.succeeded,
            "success_rate": None if tally.rate is None else round(tally.rate, RATE_DIGITS),
            "complete": tally.complete,
            "last_success": None if tally.last_success is None else iso(tally.last_success),
            "last_failure": None if tally.last_failure is None else iso(tally.last_failure),
            "breaker": "closed" if standing.trouble is None else "open",
            "trouble": _in_words(standing.trouble),
            "disabled": None if disabled is None else disabled_in_words(disabled),
            "waiting": None if waiting is None else waiting_in_words(waiting),
        }
    )


def encode_trial(message_id: MessageId) -> bytes:
    return encode({"message_id": message_id})


def decode_replay(data: bytes) -> int:
    """How many seconds back."""
    since = decode_object(data).get("since") if data else None
    if not isinstance(since, int):  # a boolean passes as the integer it is (contract README §12)
        raise InvalidBody('The request body must have "since", a number of seconds.')
    return int(since)


def _state(standing: Standing) -> str:
    """In one word what keeps the subscriber from being told, the most lasting first."""
    if standing.disabled is not None:
        return "disabled"
    if standing.waiting is not None:
        return "waiting"
    return "active" if standing.trouble is None else "trouble"


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
