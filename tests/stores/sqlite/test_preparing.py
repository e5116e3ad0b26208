"""Statements are prepared once and not each time they run: preparing takes longer than running."""

from collections import Counter

import apsw

from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.stores.sqlite.store import SqliteStore
from nuska.testing.clock import ManualClock

JOBS = QueueRef("acme", "jobs")


async def work(store: SqliteStore, clock: ManualClock, number: int) -> None:
    now = clock.now()
    messages = [NewMessage(body=b"1", ttl=seconds(3600))] * 10
    await store.messages.add(JOBS, messages, now=now)
    claim_id = f"{number:024x}"
    claimed = await store.claims.create(
        JOBS, claim_id=claim_id, limit=5, ttl=seconds(60), grace=seconds(60), now=now
    )
    await store.claims.get(JOBS, claim_id, now=now)
    await store.messages.page(JOBS, after=0, limit=5, now=now)
    await store.messages.pop(JOBS, limit=2, now=now)
    for message in claimed.messages:
        await store.messages.delete(JOBS, message.id, claim_id=claim_id, now=now)
    await store.claims.release(JOBS, claim_id, now=now)
    await store.sweep(now=now)


async def test_no_statement_of_a_message_s_life_is_prepared_again(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    prepared: Counter[str] = Counter()

    def asked(what: int, *names: str | None) -> int:
        """SQLite asks when it prepares a statement, never when it runs one."""
        if what != apsw.SQLITE_PRAGMA:  # the sweep's, which none caches
            prepared[f"{what} {names}"] += 1
        return apsw.SQLITE_OK

    await work(sqlite, clock, 0)  # opens what is opened when first needed
    for connection in apsw.connections():
        connection.authorizer = asked
    for number in range(1, 3):
        clock.advance(milliseconds=5)
        await work(sqlite, clock, number)
    assert prepared, "who is asked anew has everything prepared anew, once"
    prepared.clear()
    for number in range(3, 6):
        clock.advance(milliseconds=5)
        await work(sqlite, clock, number)
    assert not prepared
