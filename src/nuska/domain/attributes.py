"""Which attributes of a message are the service's own.

What the service has written there it believes later: where a dead letter came from, which message
a copy is of. So it takes these from nobody: a post that carries one is refused, over whichever
transport it comes, and who posts again what was read leaves them out.

Refuses to look at what any attribute says.
"""

import msgspec

DEAD_DELIVERY = "dead_delivery"
"""Why a notification is in a dead-letter queue."""
HOPS = "_hops"
"""How many queues a copy has come through."""
ORIGIN = "_origin"
"""The message that a copy is of."""
ROUND = "_round"
"""Which telling again a copy is of; only where somebody asked for the past once more."""

OURS = (DEAD_DELIVERY, HOPS, ORIGIN, ROUND)

_NAMES = tuple(name.encode() for name in OURS)
_ESCAPE = b"\\"
"""With it a name can be written in other letters."""

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def ours_in(attributes: bytes) -> list[str]:
    """The names of ours in a JSON object."""
    if _ESCAPE not in attributes and not any(name in attributes for name in _NAMES):
        return []
    held = _decode(attributes)
    return [name for name in OURS if name in held]


def without_ours(attributes: bytes) -> bytes:
    """A JSON object without them; the very text when it has none."""
    ours = ours_in(attributes)
    if not ours:
        return attributes
    kept = {name: value for name, value in _decode(attributes).items() if name not in ours}
    return msgspec.json.encode(kept)
