"""A copy of the database while the server that owns it goes on (docs/adr/0010).

The copy is one moment of the store: everything acknowledged before the backup began is in it.
It is read through a connection of its own, in small steps, in whatever process asks for it;
writes and checkpoints of the owner go on, but the log cannot start over until the copy is
done, so it grows by what is written meanwhile.

Refuses to stay when the owner wants everybody to let go (outsiders.py), and to leave a copy
that is not whole.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from nuska.domain.errors import Unavailable
from nuska.files import Draft, appearing
from nuska.stores.sqlite import schema
from nuska.stores.sqlite.connection import (
    BUSY_TIMEOUT_MS,
    NO_CHECKPOINT,
    check_library,
    close,
    snapshot,
    unavailable,
)
from nuska.stores.sqlite.mending import LOG_SUFFIX
from nuska.stores.sqlite.outsiders import LOCK_SUFFIX, Sign
from nuska.stores.sqlite.queries import query
from nuska.stores.sqlite.store import path_of

STEP_PAGES = 512
"""Pages (2 MB) copied at once, and then synced, so that the owner's own syncs never wait for
much of ours."""
COPY_CACHE_KIB = 4 * 1024

Seen = Callable[[int, int], None]
"""Told how many bytes are copied, of how many."""


def back_up(
    url: str, data_dir: str, target: Path, *, replace: bool, check: bool, seen: Seen
) -> int:
    """Copy the store to the file ``target``; its bytes. Raises ``Unavailable``, ``OSError``."""
    check_library()
    database = path_of(url, data_dir)
    _keep_apart(target, database)
    if not database.exists():
        raise Unavailable(f"There is no database {database}.")
    sign = Sign(database)
    with opened(database) as source, appearing(target, replace=replace) as draft:
        size = copy(source, draft, sign.given, seen)
        if check:
            expect_sound(draft.path)
    return size


@contextmanager
def opened(database: Path) -> Iterator[apsw.Connection]:
    """A connection that reads, and leaves everything as it is. ``Unavailable`` if not ours."""
    connection: apsw.Connection | None = None
    name = os.fspath(database)
    try:
        with schema.intact(name):
            connection = apsw.Connection(name, flags=apsw.SQLITE_OPEN_READWRITE)
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            connection.config(NO_CHECKPOINT, 1)
            connection.pragma("query_only", True)
            schema.expect_ours(connection, name)
            yield connection
    except apsw.CantOpenError as error:
        raise Unavailable(f"{name} cannot be opened: is it yours to read and write?") from error
    except apsw.Error as error:
        raise unavailable(error) from error
    finally:
        if connection is not None:
            close(connection, keep_log=True)


def copy(source: apsw.Connection, draft: Draft, given_up: Callable[[], bool], seen: Seen) -> int:
    """Copy what ``source`` shows at this moment into ``draft``; the bytes of it."""
    target = apsw.Connection(os.fspath(draft.path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        target.pragma("journal_mode", "off")  # a copy that fails is thrown away
        target.pragma("synchronous", "off")  # the file is synced here
        target.pragma("cache_size", -COPY_CACHE_KIB)
        page_size: int = source.pragma("page_size")
        with snapshot(source), target.backup("main", source, "main") as steps:
            source.execute(query("any_table")).fetchall()  # from here on it is one moment
            while not steps.done:
                steps.step(STEP_PAGES)
                os.fdatasync(draft.descriptor)
                size = steps.page_count * page_size
                seen(size - steps.remaining * page_size, size)
                if given_up():
                    raise Unavailable(
                        "The server that owns the database was started, or must make sure of it "
                        "after its disk failed. Begin the backup again."
                    )
        return size
    finally:
        close(target)


def expect_sound(database: Path) -> None:
    """Raise ``Unavailable`` unless the file, which nobody has open, holds together."""
    connection = immutable(database)
    try:
        with schema.intact(os.fspath(database)):
            found = connection.execute("PRAGMA quick_check(1)").get
    finally:
        close(connection, keep_log=True)
    if found != "ok":
        raise Unavailable(f"The copy is damaged, and so the database must be: {found}.")


def immutable(database: Path) -> apsw.Connection:
    """A connection to a file that nobody changes; leaves no log and no index beside it."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return apsw.Connection(f"{database.absolute().as_uri()}?immutable=1", flags=flags)


def _keep_apart(target: Path, database: Path) -> None:
    """A backup must not take the place of what it is a backup of."""
    own = {database.name + suffix for suffix in ("", LOG_SUFFIX, "-shm", LOCK_SUFFIX)}
    if target.name in own and target.parent.resolve() == database.parent.resolve():
        raise Unavailable(f"{target} belongs to the store itself. Name another file.")
