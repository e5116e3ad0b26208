"""What an acknowledged write survives on PostgreSQL, and how to make it more.

``fsync``, ``full_page_writes`` and ``synchronous_standby_names`` are the server's and not
touched here; ``synchronous_commit`` is a session's, and is set where a demand needs more than
the server's default. A commit may come back unconfirmed by its standbys when somebody cancels
its wait: PostgreSQL then only warns, and the answer here is that nobody knows.
"""

import re
from collections.abc import MutableMapping
from typing import Any

from msgspec import Struct, structs
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.interfaces.storage import Durability
from nuska.stores.sql.promises import Promise, TooWeak

READ = (
    "SELECT current_setting('fsync'), current_setting('full_page_writes'), "
    "current_setting('synchronous_commit'), current_setting('synchronous_standby_names'), "
    "(SELECT count(*) FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup')"
)
NONE, FSYNC, MAJORITY = Durability.NONE, Durability.FSYNC, Durability.MAJORITY
WAITS = {
    "on": "synced to disk by",
    "remote_write": "received by",
    "remote_apply": "synced to disk and applied by",
}
"""Values of synchronous_commit that wait for standbys, and for what."""
UNCONFIRMED = "nuska_unconfirmed"
PLAIN_WARNING = "01000"
"""SQLSTATE of the warning that a commit does not wait for standbys any longer."""

_COUNTED = re.compile(r"\s*(?:(?:first|any)\s+)?(\d+)\s*\((.*)\)\s*", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r'"(?:[^"]|"")*"|[^\s,]+')


class Found(Struct, frozen=True):
    """What a server says of itself, and of a session."""

    fsync: str = "on"
    full_page_writes: str = "on"
    synchronous_commit: str = "on"
    standby_names: str = ""
    standbys: int = 0
    """Connected now."""


class Quorum(Struct, frozen=True):
    """How many standbys confirm a commit, and how many are named; 0: any are meant."""

    confirming: int
    named: int


def quorum(standby_names: str) -> Quorum:
    """What a value of synchronous_standby_names means."""
    counted = _COUNTED.fullmatch(standby_names)
    confirming, listed = (1, standby_names) if counted is None else counted.groups()
    names = _NAME.findall(listed)
    if not names:
        return Quorum(0, 0)
    return Quorum(int(confirming), 0 if "*" in names else len(names))


class PostgresqlDemand:
    """``Demand`` on PostgreSQL."""

    def __init__(
        self, required: Durability, replicas: int | None = None, *, may_set: bool = True
    ) -> None:
        """``replicas``: how many standbys there ought to be, if somebody said so. ``may_set``:
        sessions are ours to set."""
        self._may_set = may_set
        self._required = required
        self._expected = replicas
        self._most_seen = 0

    async def promise(self, connection: AsyncConnection) -> Promise:
        """Ask a connection that has been made ready."""
        return self.follows(Found(*(await connection.execute(text(READ))).one()))

    def make_ready(self, connection: Any, record: Any) -> None:
        """Have a new connection promise what is demanded, or raise ``TooWeak``: it may lead to
        another server than the one before. For SQLAlchemy's event ``connect``."""

        def warned(_: object, message: Any) -> None:
            if message.sqlstate == PLAIN_WARNING:
                record.info[UNCONFIRMED] = True

        connection.driver_connection.add_log_listener(warned)
        if self._required is NONE:
            return
        cursor = connection.cursor()
        cursor.execute(READ)
        found = Found(*cursor.fetchone())
        commit = self._commit_as(found)
        if self._may_set:
            cursor.execute(f"SET synchronous_commit = {commit}")
        cursor.close()
        connection.commit()
        self.follows(structs.replace(found, synchronous_commit=commit))

    def _commit_as(self, found: Found) -> str:
        """The least change of synchronous_commit that reaches what is demanded."""
        if not self._may_set:
            return found.synchronous_commit
        if self._required is MAJORITY and found.synchronous_commit not in WAITS:
            return "on"
        if self._required is FSYNC and found.synchronous_commit == "off":
            return "local"
        return found.synchronous_commit

    def follows(self, found: Found) -> Promise:
        """What a server promises that says this of itself; raises ``TooWeak``."""
        self._most_seen = max(self._most_seen, found.standbys)
        if found.fsync == "off":
            return self._only(
                "PostgreSQL syncs nothing to disk (fsync off)",
                "nothing: a crash of the machine may cost the whole database "
                "(PostgreSQL, fsync off)",
            )
        if found.full_page_writes == "off":
            return self._only(
                "a crash of the machine may leave torn pages (full_page_writes off)",
                "a restart of PostgreSQL; a crash of its machine may leave pages torn that it "
                "cannot mend (PostgreSQL, full_page_writes off)",
            )
        if found.synchronous_commit == "off":
            return self._only(
                "PostgreSQL acknowledges before it syncs (synchronous_commit off)",
                "a crash loses the acknowledged writes of the last moments "
                "(PostgreSQL, synchronous_commit off)",
            )
        return self._of_synced(found)

    def _only(self, missing: str, survives: str) -> Promise:
        if self._required is not NONE:
            raise TooWeak(f"{self._demand}: {missing}.")
        return Promise(level=NONE, sentence=survives)

    def _of_synced(self, found: Found) -> Promise:
        agreed, copies = quorum(found.standby_names), 0
        waits = found.synchronous_commit in WAITS and agreed.confirming > 0
        copies = self._expected or max(agreed.named, self._most_seen)
        is_majority = waits and 2 * agreed.confirming + 1 > copies > 0
        if self._required is MAJORITY and not is_majority:
            raise TooWeak(f"{self._demand}: {_no_majority(agreed, copies)}.")
        synced = "every acknowledged write has been synced to disk"
        setting = f"PostgreSQL, synchronous_commit {found.synchronous_commit}"
        if not waits:
            others = f"; {copies} standby servers get it later" if copies else ""
            return Promise(level=FSYNC, sentence=f"{synced} ({setting}){others}")
        others = f"{WAITS[found.synchronous_commit]} {agreed.confirming} of {copies} standby"
        return Promise(
            level=MAJORITY if is_majority else FSYNC,
            sentence=f"{synced}, and {others} {'server' if copies == 1 else 'servers'} ({setting})",
        )

    @property
    def _demand(self) -> str:
        return f"--require-durability {self._required.name.lower()}"


def _no_majority(agreed: Quorum, copies: int) -> str:
    if not agreed.confirming:
        return "PostgreSQL waits for no standby (synchronous_standby_names is empty)"
    if not copies:
        return "PostgreSQL has no standby, so there is no majority to wait for"
    return (
        f"PostgreSQL waits for {agreed.confirming} of {copies} standby servers, "
        "which is no majority (synchronous_standby_names)"
    )


def has_confirmed(info: MutableMapping[Any, Any]) -> bool:
    """Whether the commit that a connection did last is what it seems; ``info`` is its own."""
    return not info.pop(UNCONFIRMED, False)
