"""What an acknowledged write survives, from what the servers say of themselves.

Writes always wait for the journals of a majority, so all that differs is of how many members
a majority is. In a replica set of one it is one disk, which is no majority to anybody who
demands one.
"""

from collections.abc import Mapping

from msgspec import Struct

from nuska.domain.errors import Unavailable
from nuska.interfaces.storage import Durability
from nuska.stores.mongodb.records import Document

OLDEST_WIRE_VERSION = 17
"""That of MongoDB 6.0."""


class Promise(Struct, frozen=True):
    """What the servers promise now."""

    level: Durability
    sentence: str


def promise_of(hello: Document, shards: list[int] | None = None) -> Promise:
    """Of a member's ``hello``, or of a router's and the numbers of members of its shards (None:
    we may not know them). Refuses servers without transactions."""
    if hello.get("maxWireVersion", 0) < OLDEST_WIRE_VERSION:
        raise Unavailable("The MongoDB store needs MongoDB 6.0 or later.")
    if hello.get("msg") == "isdbgrid":
        return _of_shards(shards)
    if "setName" not in hello:
        raise Unavailable(
            "The MongoDB store needs a replica set (one member is enough) or a sharded cluster; "
            "this server is neither."
        )
    copies = len(hello.get("hosts", [])) + len(hello.get("passives", []))
    if copies <= 1:
        return Promise(
            Durability.FSYNC,
            "every acknowledged write is in the journal of the one MongoDB server, synced; there "
            "is no other copy",
        )
    voters = copies + len(hello.get("arbiters", []))
    most = min(voters // 2 + 1, copies)
    return Promise(
        Durability.MAJORITY,
        f"every acknowledged write is in the journals of {most} of {copies} MongoDB servers, "
        "synced",
    )


def _of_shards(shards: list[int] | None) -> Promise:
    text = (
        "every acknowledged write is in the journals of a majority of its shard's members, synced"
    )
    if not shards:
        note = "; how many there are is not known: MongoDB does not let this user ask (listShards)"
        return Promise(Durability.FSYNC, text + note)
    if min(shards) <= 1:
        return Promise(Durability.FSYNC, text + "; a shard has but one")
    return Promise(Durability.MAJORITY, text)


def check(promise: Promise, required: Durability, options: Mapping[str, object]) -> None:
    """Refuse, with a sentence, what is demanded and not there."""
    if required is Durability.NONE:
        return
    demand = f"--require-durability {required.name.lower()}"
    for name, good in (("w", "majority"), ("journal", True)):
        if options.get(name, good) != good:
            raise Unavailable(
                f"{demand}: the URL of the MongoDB store says {name}={options[name]}. Nuska waits "
                "for the journals of a majority whatever it says; leave it out."
            )
    if promise.level < required:
        raise Unavailable(
            f"{demand}: MongoDB promises less. What an acknowledged write survives here: "
            f"{promise.sentence}."
        )
