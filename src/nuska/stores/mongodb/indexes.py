"""The indexes a store needs, made at the start and checked: a store without one is refused.

Making an index that is there already does nothing, so every node may do it. What differs
from what is written here was not made by this version of Nuska, and is reported, not mended.
"""

from pymongo import ASCENDING, IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure

from nuska.domain.errors import Unavailable
from nuska.stores.mongodb.records import Document

OPTIONS_CONFLICT = 85
KEYS_CONFLICT = 86


def _index(name: str, *fields: str, only: Document | None = None) -> IndexModel:
    keys = [(field, ASCENDING) for field in fields]
    if only is None:
        return IndexModel(keys, name=name)
    return IndexModel(keys, name=name, partialFilterExpression=only)


INDEXES = [
    _index("q_1", "q"),  # the shard key; named as MongoDB names it when it shards
    _index("by_position", "g", "p", "e", only={"g": {"$exists": True}}),
    # The end is in there so that walking over expired messages reads no message.
    _index("ready_by_position", "g", "w", "p", "e", only={"w": False}),
    _index("waiting_by_moment", "g", "v", only={"w": True}),
    _index("due", "v", only={"w": True}),
    _index("by_claim", "g", "k", "p", only={"k": {"$exists": True}}),
    _index("by_end", "e", only={"e": {"$exists": True}}),
    _index("queues_by_name", "project", "name", only={"project": {"$exists": True}}),
    _index("posts_by_key", "q", "y", only={"y": {"$exists": True}}),
    _index("leftovers", "old", only={"old": {"$exists": True}}),
]


async def make_indexes(records: AsyncCollection[Document]) -> None:
    """Make what is missing; refuse what is otherwise."""
    try:
        await records.create_indexes(INDEXES)
    except OperationFailure as refusal:
        if refusal.code in (OPTIONS_CONFLICT, KEYS_CONFLICT):
            raise Unavailable(
                f"The MongoDB store has an index that is not as this Nuska needs it: {refusal}"
            ) from refusal
        raise
    there = await records.index_information()
    for index in INDEXES:
        name = index.document["name"]
        if name not in there:
            raise Unavailable(f"The MongoDB store has no index {name!r}.")
