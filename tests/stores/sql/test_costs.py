"""What a page and a trim read does not grow with what is there, whatever the server believes
about its tables."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.positions import BEFORE_ALL
from nuska.stores.sql import locking
from nuska.stores.sql import store as opened
from nuska.stores.sql.announcing import PAGE, TRIMMED_AT_ONCE, SqlAnnouncements
from nuska.stores.sql.database import Database, T, Work
from nuska.stores.sql.messages import SqlMessages
from nuska.stores.sql.store import SqlStore
from nuska.stores.sql.taking import Takers
from nuska.stores.sql.url import parse
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.conformance.announcements import Log
from nuska.testing.conformance.inbox import HOUR, MINUTE, Inbox, sweep_all

MANY = 5_000
AT_ONCE = 500
LIMIT = 20
MESSAGES_READ_AT_MOST = 3 * LIMIT + 20
"""That a page of messages reads."""
ROWS_AT_MOST = LIMIT + 20
"""That a page reads: its own, and those that name the log."""
READ = {
    "postgresql": "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables",
    "mariadb": "SELECT SUM(variable_value) FROM information_schema.session_status "
    "WHERE variable_name LIKE 'HANDLER_READ%' AND variable_name <> 'HANDLER_READ_RND_NEXT'",
}
"""Rows that the connection has read so far; of MariaDB without those of its own answers."""
ANALYSE = {
    "postgresql": "ANALYZE",
    "mariadb": "ANALYZE TABLE queues, messages, announcements PERSISTENT FOR ALL",
}

Analyse = Callable[[str], Awaitable[None]]


class Counting(Database):
    """Counts the rows that a transaction reads."""

    def __init__(self, url: str, kind: str) -> None:
        super().__init__(parse(url))
        self._asked = text(READ[kind])
        self.read_rows = 0

    async def write(self, work: Work[T]) -> T:
        return await super().write(self._counted(work))

    async def read(self, work: Work[T]) -> T:
        return await super().read(self._counted(work))

    def _counted(self, work: Work[T]) -> Work[T]:
        async def counted(connection: AsyncConnection) -> T:
            before = await self._so_far(connection)
            answer = await work(connection)
            after = await self._so_far(connection)
            self.read_rows = after - before - (await self._so_far(connection) - after)
            return answer

        return counted

    async def _so_far(self, connection: AsyncConnection) -> int:
        return int((await connection.execute(self._asked)).scalar_one() or 0)


@pytest.fixture
async def counting(url: str, kind: str, store: SqlStore) -> AsyncIterator[Counting]:
    assert store  # it makes the tables
    counting = Counting(url, kind)
    yield counting
    await counting.close()


@pytest.fixture(params=["never", "when empty", "by now"])
def analyse(request: pytest.FixtureRequest, kind: str, server, url: str) -> Analyse:
    """Has the server look at its tables at one of these moments, or never."""

    async def analyse(when: str) -> None:
        if when == request.param:
            await server.ask(ANALYSE[kind], parse(url).database)

    return analyse


async def test_a_page_and_a_trim_read_little_of_a_long_log(
    server, url: str, store: SqlStore, counting: Counting, clock: ManualClock, analyse: Analyse
) -> None:
    inbox = Inbox(store, clock)
    log = Log(store, inbox)
    await inbox.post("first")
    await log.open()
    await analyse("when empty")
    for start in range(0, MANY, AT_ONCE):
        # Half of them expire, and are still there.
        ttl = MINUTE if start % (2 * AT_ONCE) else HOUR
        await inbox.post(*(str(number) for number in range(start, start + AT_ONCE)), ttl=ttl)
    await analyse("by now")
    project, name = locking.of(inbox.ref)
    [*_, middle] = await log.all(limit=MANY // 2)
    for after in (BEFORE_ALL, middle.position):
        values = {
            "project": project,
            "name": name,
            "after": after,
            "most": LIMIT,
            "now": clock.now(),
        }
        page = await counting.write(lambda connection: connection.execute(PAGE, values))  # noqa: B023
        assert len(page.all()) == LIMIT
        assert counting.read_rows <= ROWS_AT_MOST
    logs = SqlAnnouncements(counting)
    assert await logs.trim(inbox.ref, through=middle.position, now=clock.now())
    assert counting.read_rows <= 2 * TRIMMED_AT_ONCE + ROWS_AT_MOST
    assert len(await log.bodies(limit=MANY)) == MANY - TRIMMED_AT_ONCE
    clock.advance(milliseconds=MINUTE)
    await sweep_all(store, clock)
    counted = await server.ask("SELECT COUNT(*) FROM announcements", parse(url).database)
    assert counted == MANY // 2 - TRIMMED_AT_ONCE


@pytest.mark.parametrize(("claimed", "delayed"), [(True, True), (True, False), (False, False)])
async def test_a_page_of_messages_reads_little_of_a_long_queue(
    store: SqlStore,
    counting: Counting,
    clock: ManualClock,
    analyse: Analyse,
    *,
    claimed: bool,
    delayed: bool,
) -> None:
    inbox = Inbox(store, clock)
    await inbox.post("first")
    await analyse("when empty")
    for start in range(0, MANY, AT_ONCE):
        await inbox.post(*(str(number) for number in range(start, start + AT_ONCE)))
    await analyse("by now")
    at_once = opened.AT_ONCE[counting.dialect.migrations](counting)
    messages = SqlMessages(counting, at_once, Takers(counting), seeded_bytes(9))
    page = await messages.page(
        inbox.ref,
        after=BEFORE_ALL,
        limit=LIMIT,
        include_claimed=claimed,
        include_delayed=delayed,
        now=clock.now(),
    )
    assert len(page.messages) == LIMIT <= counting.read_rows <= MESSAGES_READ_AT_MOST
