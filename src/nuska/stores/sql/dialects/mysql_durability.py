"""What an acknowledged write survives on MariaDB and MySQL, as the server's settings say.

They are the server's alone: a session cannot ask for more. With semi-synchronous replication
a commit waits for a replica, but only for a while, and then no longer: so it is named, and
never counted as a majority.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.interfaces.storage import Durability
from nuska.stores.sql.promises import Promise, TooWeak

READ = (
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('innodb_flush_log_at_trx_commit', "
    "'innodb_flush_method', 'log_bin', 'sync_binlog', 'rpl_semi_sync_master_enabled', "
    "'rpl_semi_sync_source_enabled')"
)
SYNCED_AT_COMMIT = frozenset({"1", "3"})
"""Values of innodb_flush_log_at_trx_commit; 3 is MariaDB's, and syncs once more."""
NEVER_SYNCED = frozenset({"nosync", "littlesync"})
"""Values of innodb_flush_method."""
LAST_MOMENTS = "a crash of the server's machine loses the acknowledged writes of the last moments"


class MysqlDemand:
    """``Demand`` on MariaDB and MySQL."""

    def __init__(self, required: Durability) -> None:
        self._required = required

    async def promise(self, connection: AsyncConnection) -> Promise:
        rows = await connection.execute(text(READ))
        return self._promise({str(row[0]): str(row[1]) for row in rows})

    def make_ready(self, connection: Any, _record: object) -> None:
        """Raise ``TooWeak`` if a new connection leads to a server that promises too little. For
        SQLAlchemy's event ``connect``."""
        if self._required is Durability.NONE:
            return
        cursor = connection.cursor()
        cursor.execute(READ)
        self._promise({str(row[0]): str(row[1]) for row in cursor.fetchall()})
        cursor.close()

    def _promise(self, settings: Mapping[str, str]) -> Promise:
        found = {name.lower(): value for name, value in settings.items()}
        promise = promised_by(found)
        if promise.level < self._required:
            demand = f"--require-durability {self._required.name.lower()}"
            if self._required is Durability.MAJORITY:
                raise TooWeak(f"{demand}: a MariaDB or MySQL server cannot promise a majority.")
            raise TooWeak(f"{demand}: {promise.sentence}.")
        return promise


def promised_by(found: Mapping[str, str]) -> Promise:
    """What these settings promise."""
    flush = found.get("innodb_flush_log_at_trx_commit", "")
    if flush not in SYNCED_AT_COMMIT:
        return _none(LAST_MOMENTS, f"innodb_flush_log_at_trx_commit {flush}")
    method = found.get("innodb_flush_method", "")
    if method.lower() in NEVER_SYNCED:
        return _none(
            "a crash of the server's machine may cost everything", f"innodb_flush_method {method}"
        )
    if found.get("log_bin") == "ON" and found.get("sync_binlog") != "1":
        # After a crash the server takes back what it does not find in its binary log.
        return _none(LAST_MOMENTS, f"log_bin ON, sync_binlog {found.get('sync_binlog')}")
    sentence = "every acknowledged write has been synced to disk"
    sentence += f" (MariaDB or MySQL, innodb_flush_log_at_trx_commit {flush})"
    semi = ("rpl_semi_sync_master_enabled", "rpl_semi_sync_source_enabled")
    if "ON" in [found.get(name) for name in semi]:
        sentence += "; a replica has received it, unless that took too long (semi-sync)"
    return Promise(level=Durability.FSYNC, sentence=sentence)


def _none(sentence: str, setting: str) -> Promise:
    return Promise(level=Durability.NONE, sentence=f"{sentence} ({setting})")
