"""Which messages a claim or a pop takes: those in line and alive, oldest first."""

from pymongo import UpdateMany

from nuska.domain.limits import DUE_PER_CLAIM
from nuska.stores.mongodb.headers import Header
from nuska.stores.mongodb.records import Document
from nuska.stores.mongodb.transaction import Transaction

NO_LONGER_WAITING = {"$set": {"w": False}, "$unset": {"k": ""}}


async def make_due_ready(transaction: Transaction, header: Header) -> None:
    """Let waiting messages whose moment has come stand in line again, before a choice."""
    due = await transaction.find(
        {
            "q": header.key,
            "g": header.generation,
            "w": True,
            "v": {"$lte": header.moment},
        },
        sort="v",
        limit=DUE_PER_CLAIM,
    )
    if due:
        keys = [document["_id"] for document in due]
        query = {"_id": {"$in": keys}, "q": header.key}
        await transaction.write([UpdateMany(query, NO_LONGER_WAITING)])


async def candidates(
    transaction: Transaction,
    header: Header,
    limit: int,
    *,
    after: int | None = None,
    last: int | None = None,
) -> list[Document]:
    """Up to ``limit`` messages behind ``after`` and not behind ``last``."""
    place: Document = {"$gt": header.base if after is None else after}
    if last is not None:
        place["$lte"] = last
    return await transaction.find(
        {
            "q": header.key,
            "g": header.generation,
            "w": False,
            "p": place,
            "e": {"$gt": header.moment},
        },
        sort="p",
        limit=limit,
    )
