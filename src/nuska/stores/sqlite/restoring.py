"""Putting a backup in the place of the database, with no server running on it.

Refuses to touch data that a server uses, and to destroy any: what was there is kept beside
it. A crash on the way leaves the old data under one name or the other, never a mixture of a
database with the log of another.
"""

import os
from contextlib import closing, suppress
from pathlib import Path

import apsw

from nuska.domain.errors import Unavailable
from nuska.files import Draft, appearing, sync_directory
from nuska.stores.sqlite import schema
from nuska.stores.sqlite.backup import Seen, copy, expect_sound, immutable, opened
from nuska.stores.sqlite.connection import check_library, unavailable
from nuska.stores.sqlite.mending import LOG_SUFFIX
from nuska.stores.sqlite.outsiders import LOCK_SUFFIX, ask_to_let_go
from nuska.stores.sqlite.store import make_directory, path_of, translated_path

INDEX_SUFFIX = "-shm"
ASIDE = ".before-restore"


def restore(url: str, data_dir: str, backup: Path, *, replace: bool, seen: Seen) -> Path | None:
    """Make ``backup`` the store's database. Returns where the one before is kept, if any.

    Raises ``Unavailable`` or ``OSError``; what was there is then as it was.
    """
    check_library()
    if not backup.is_file():
        raise Unavailable(f"There is no file {backup}.")
    database = path_of(url, data_dir)
    with translated_path(database):
        make_directory(database.parent)
    lock = schema.lock(database.with_name(database.name + LOCK_SUFFIX))
    try:
        ask_to_let_go(lock)
        there = _expect_room(database, replace=replace)
        incoming = _beside(database, ".restored")
        incoming.unlink(missing_ok=True)  # of an attempt that broke off
        with appearing(incoming) as draft:
            _copy_checked(backup, draft, seen)
        kept = _put_aside(database) if there else None
        incoming.replace(database)
        sync_directory(database.parent)
        return kept
    finally:
        os.close(lock)


def _copy_checked(backup: Path, draft: Draft, seen: Seen) -> None:
    """Copy the backup, and make sure that the copy can be used."""
    log = _beside(backup, LOG_SUFFIX)
    if log.exists() and log.stat().st_size:  # not made by us: the two belong together
        with opened(backup) as source:
            copy(source, draft, _never, seen)
    else:
        name = os.fspath(backup)
        try:
            with schema.intact(name), closing(immutable(backup)) as source:
                schema.expect_ours(source, name)
                copy(source, draft, _never, seen)
        except apsw.Error as error:
            raise unavailable(error) from error
    expect_sound(draft.path)


def _expect_room(database: Path, *, replace: bool) -> bool:
    """Whether there is something to put aside; refuse if it may not be, or has no place."""
    kept = _beside(database, ASIDE)
    if not database.exists() and not _beside(database, LOG_SUFFIX).exists():
        return False
    if not replace:
        raise Unavailable(f"{database} is there already; --force puts it aside.")
    if kept.exists() and database.exists():
        raise Unavailable(
            f"{kept} is there already, from the last time. Move it away or remove it first."
        )
    return True


def _put_aside(database: Path) -> Path:
    """Give the database before another name, together with its log."""
    kept = _beside(database, ASIDE)
    if database.exists():
        with suppress(apsw.Error):  # it may be damaged; then its log stays beside it
            connection = apsw.Connection(os.fspath(database), flags=apsw.SQLITE_OPEN_READWRITE)
            with closing(connection):
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        database.rename(kept)
        sync_directory(database.parent)
    log = _beside(database, LOG_SUFFIX)
    if log.exists():
        log.rename(_beside(kept, LOG_SUFFIX))
    _beside(database, INDEX_SUFFIX).unlink(missing_ok=True)
    sync_directory(database.parent)
    return kept


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _never() -> bool:
    return False
