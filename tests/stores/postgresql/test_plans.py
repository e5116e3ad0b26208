"""What a statement reads does not grow with what is claimed or gone, whatever the server
believes about its tables: its statistics may be of when they were empty, or full."""

import json
import re
from typing import Any

import asyncpg
import pytest
from sqlalchemy import TextClause
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from nuska.stores.sql.at_once import (
    CLAIM_STATEMENT,
    DELETE_ALL_STATEMENT,
    DELETE_STATEMENT,
    NEVER_TIRED,
)
from nuska.stores.sql.dialects.postgresql import PLANS
from nuska.stores.sql.store import SqlStore
from nuska.testing.clock import START, ManualClock
from nuska.testing.conformance.inbox import Inbox
from nuska.testing.postgresql_server import PostgresqlServer

MANY = 5_000
FEW = 20
PAGES_AT_MOST = 120
"""Of a claim of one message; a walk over what is claimed is of several hundred."""
NOBODY = b"n" * 12
CLAIMING = {
    "now": START,
    "together": 1,
    "claims": [NOBODY],
    "ttls": [60_000],
    "lives": [60_000],
    "highest": [NEVER_TIRED],
    "first": [1],
    "last": [1],
}
DELETING = {"now": START, "positions": [1], "salts": [b"s"], "claims": [NOBODY], "numbers": [0]}
DELETING_ALL = {"now": START, "positions": [1, 2], "salts": [b"s", b"s"], "named": [NOBODY]}


def literal(value: Any) -> str:
    if isinstance(value, list):
        return f"ARRAY[{','.join(map(literal, value))}]"
    return f"'\\x{value.hex()}'::bytea" if isinstance(value, bytes) else f"{value}::bigint"


async def pages(server: PostgresqlServer, statement: TextClause, values: dict[str, Any]) -> int:
    """That the statement looks at, by a plan that is made for any values."""
    compiled = statement.compile(dialect=PGDialect_asyncpg())
    given = {"project": b"acme", "name": b"inbox", **values}
    literals = ", ".join(literal(given[name]) for name in compiled.positiontup or [])
    connection = await asyncpg.connect(
        server.url(), server_settings={**PLANS, "plan_cache_mode": "force_generic_plan"}
    )
    try:
        await connection.execute(f"PREPARE one AS {compiled}")
        explained = await connection.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE one({literals})"
        )
        root = json.loads(explained)[0]["Plan"]
        return int(root["Shared Hit Blocks"]) + int(root["Shared Read Blocks"])
    finally:
        await connection.close()


@pytest.mark.parametrize("statement", [CLAIM_STATEMENT, DELETE_ALL_STATEMENT, DELETE_STATEMENT])
def test_rows_are_locked_where_they_are_chosen_once_and_not_once_more_for_each_row(
    statement: TextClause,
) -> None:
    """A sub-select with a limit that is done again passes over what it has locked before, and
    finds more."""
    parts = re.split(r"\n, |\nWITH ", str(statement))
    locking = [part for part in parts if re.search(r"\bFOR (NO KEY UPDATE|UPDATE|KEY SHARE)", part)]
    assert locking
    for part in locking:
        assert re.match(r"\w+ AS MATERIALIZED \(\s*SELECT\b", part)
        assert part.count("FOR ") == 1


@pytest.mark.parametrize("analysed", ["never", "when empty", "when all was ready", "by now"])
@pytest.mark.parametrize("gone", [False, True], ids=["claimed", "deleted"])
async def test_a_claim_and_a_delete_read_little_behind_much_that_is_claimed_or_gone(
    server: PostgresqlServer, store: SqlStore, analysed: str, gone: bool
) -> None:
    async def analyse(when: str) -> None:
        if when == analysed:
            await server.ask("ANALYZE")

    await server.ask("ALTER TABLE messages SET (autovacuum_enabled = off)")
    inbox = Inbox(store, ManualClock())
    await analyse("when empty")
    await inbox.post(*(str(number) for number in range(MANY + FEW)))
    await analyse("when all was ready")
    if gone:
        assert len(await inbox.pop(MANY)) == MANY
    else:
        assert len(await inbox.claim(1, limit=MANY)) == MANY
    await inbox.claim(2, limit=1)  # meets what is gone, and marks it
    await analyse("by now")
    assert await pages(server, CLAIM_STATEMENT, CLAIMING) < PAGES_AT_MOST
    assert await pages(server, DELETE_STATEMENT, DELETING) < PAGES_AT_MOST
    assert await pages(server, DELETE_ALL_STATEMENT, DELETING_ALL) < PAGES_AT_MOST
