"""What one claim hands out, and the dead-lettering that happens inside it (D8)."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.claims import OVER_CLAIM_COUNT, DeadLetterRule
from nuska.domain.limits import DEAD_LETTERS_PER_CLAIM
from nuska.domain.messages import DeadLetter, QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import next_position
from nuska.stores.sql import locking
from nuska.stores.sql.choosing import candidates
from nuska.stores.sql.database import Database
from nuska.stores.sql.moving import remember, remove
from nuska.stores.sql.rows import MessageRow, QueueRow, encode
from nuska.stores.sql.tables import READY, messages


class Choice:
    """What one claim hands out, and what it moves away because it was handed out too often."""

    def __init__(
        self,
        connection: AsyncConnection,
        database: Database,
        queue: QueueRef,
        row: QueueRow,
        moment: int,
    ) -> None:
        self._connection = connection
        self._database = database
        self._queue = queue
        self._row = row
        self._moment = Moment(moment)

    async def make(self, limit: int, rule: DeadLetterRule) -> tuple[list[MessageRow], int]:
        """Up to ``limit`` candidates to claim; those handed out too often leave instead.

        Looks no further than the tail as it was, so that a queue that is its own dead-letter
        queue ends.
        """
        chosen: list[MessageRow] = []
        tired: list[MessageRow] = []
        position = 0
        while len(chosen) < limit and len(tired) < DEAD_LETTERS_PER_CLAIM:
            wanted = limit - len(chosen)
            found = await candidates(
                self._connection, self._row.generation, self._moment, wanted, after=position
            )
            for row in found:
                position = row.position
                if row.claim_count < rule.max_claims:
                    chosen.append(row)
                elif len(tired) < DEAD_LETTERS_PER_CLAIM:
                    tired.append(row)
            if len(found) < wanted:
                break
        if tired:
            await self._move(tired, rule)
        return chosen, len(tired)

    async def _move(self, tired: Sequence[MessageRow], rule: DeadLetterRule) -> None:
        """Move messages to the tail of the dead-letter queue, in this very transaction."""
        connection = self._connection
        places = [(row.position, row.posted_position, row.salt) for row in tired]
        await remove(connection, self._row.generation, places)
        target = await locking.find_or_create(connection, self._database, rule.queue, self._moment)
        moment = max(self._moment, target.last_moment)
        position = target.last_position
        for row in tired:
            position = next_position(position, self._moment)
            posted = row.position if row.posted_position is None else row.posted_position
            values = self._moved(row, posted, rule)
            await connection.execute(
                insert(messages).values(generation=target.generation, position=position, **values)
            )
            await remember(connection, target.generation, (posted, row.salt), position)
        await locking.keep_counter(connection, target, position, moment)

    def _moved(self, row: MessageRow, posted: int, rule: DeadLetterRule) -> dict[str, Any]:
        """What a dead letter keeps, and what is new about it."""
        dead = DeadLetter(
            origin=self._queue.name,
            reason=OVER_CLAIM_COUNT,
            claim_count=row.claim_count,
            at=self._moment,
        )
        return {
            "salt": row.salt,
            "posted_position": posted,
            "body": row.body,
            "poster": row.poster,
            "ttl": row.ttl if rule.ttl is None else rule.ttl,
            "created_at": row.created_at,
            "expires_at": row.expires_at if rule.ttl is None else self._moment + rule.ttl,
            "available_at": READY,
            "claim_count": row.claim_count,
            "attributes": row.attributes,
            "dead": encode(dead),
        }
