"""Dead letters on the wire. Zaqar has no route for them."""

from msgspec import Raw, Struct

from nuska.core.redriving import DeadLetter, DeadLetters, Redriven
from nuska.domain.errors import InvalidBody
from nuska.domain.moments import iso
from nuska.transport.wire.json import decode_object, encode

_REDRIVE_KEYS = frozenset(("ids", "reason", "limit", "marker", "dry_run"))


class Redrive(Struct, frozen=True, kw_only=True):
    """What is to be redriven."""

    ids: list[str] | None = None
    reason: str | None = None
    limit: int | None = None
    marker: str | None = None
    dry_run: bool = False


def encode_dead_letters(page: DeadLetters, links: bytes) -> bytes:
    items = encode([_dead_letter(letter) for letter in page.letters])
    return b'{"dead_letters": ' + items + b", " + links + b"}"


def _dead_letter(letter: DeadLetter) -> dict[str, object]:
    shown: dict[str, object] = {
        "id": letter.id,
        "kind": "message" if letter.subscription is None else "delivery",
        "message_id": letter.message,
        "reason": letter.reason,
        "count": letter.count,
        "at": iso(letter.at),
    }
    if letter.subscription is not None:
        shown |= {"subscription_id": letter.subscription, "subscriber": letter.subscriber}
    shown["body"] = Raw(letter.letter.body)
    attributes = letter.letter.attributes_as_posted
    if attributes is not None:
        shown["attributes"] = Raw(attributes)
    return shown


def decode_redrive(data: bytes) -> Redrive:
    """Which dead letters; an empty body means all of them."""
    document = decode_object(data) if data else {}
    unknown = sorted(document.keys() - _REDRIVE_KEYS)
    if unknown:
        raise InvalidBody(f"A redrive has no {unknown[0]!r}.")
    ids = document.get("ids")
    if ids is not None and not (
        isinstance(ids, list) and all(isinstance(each, str) for each in ids)
    ):
        raise InvalidBody("The value of ids must be an array of texts.")
    limit, dry_run = document.get("limit"), document.get("dry_run", False)
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool)):
        raise InvalidBody("The value of limit must be an integer.")
    if not isinstance(dry_run, bool):
        raise InvalidBody("The value of dry_run must be true or false.")
    return Redrive(
        ids=ids,
        reason=_text(document, "reason"),
        limit=limit,
        marker=_text(document, "marker"),
        dry_run=dry_run,
    )


def _text(document: dict[str, object], key: str) -> str | None:
    value = document.get(key)
    if value is not None and not isinstance(value, str):
        raise InvalidBody(f"The value of {key} must be text.")
    return value


def encode_redriven(redriven: Redriven) -> bytes:
    return encode(
        {
            "ids": redriven.ids,
            "skipped": redriven.skipped,
            "marker": redriven.marker,
            "complete": redriven.complete,
        }
    )
