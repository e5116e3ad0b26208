"""Which messages a claim or a pop takes: those in line and alive, oldest first."""

from pymongo import UpdateMany

from nuska.domain.limits import DUE_PER_CLAIM
from nuska.domain.moments import Moment
from nuska.stores.mongodb.headers import NOTHING_WAITS, Header
from nuska.stores.mongodb.records import Document
from nuska.stores.mongodb.transaction import Transaction

NO_LONGER_WAITING = {"$set": {"w": False}, "$unset": {"k": ""}}


async def make_due_ready(transaction: Transaction, header: Header) -> None:
    """Let waiting messages whose moment has come stand in line again, before a choice.

    The queue's document says when there can be such again, so that most choices need not look.
    """
    if header.due > header.moment:
        return
    waiting = await transaction.find(
        {"q": header.key, "g": header.generation, "w": True},
        sort="v",
        limit=DUE_PER_CLAIM + 1,
    )
    due = [document for document in waiting if document["v"] <= header.moment][:DUE_PER_CLAIM]
    rest = waiting[len(due) :]
    header.next_due(Moment(rest[0]["v"]) if rest else NOTHING_WAITS)
    if due:
        keys = [document["_id"] for document in due]
        query = {"_id": {"$in": keys}, "q": header.key}
        transaction.write([UpdateMany(query, NO_LONGER_WAITING)])


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
