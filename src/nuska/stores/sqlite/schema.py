"""The layout of the database file, its version, and the lock that makes us its one owner."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import apsw

from nuska.domain.errors import Unavailable
from nuska.domain.moments import Moment
from nuska.stores.sqlite.queries import query

VERSION = 1


def prepare(connection: apsw.Connection, path: str) -> None:
    """Create the tables in an empty file; refuse one that is a newer release's or not ours."""
    version = connection.pragma("user_version")
    if version == 0:
        if connection.execute(query("any_table")).get:
            raise Unavailable(
                f"{path} is a database of another program. Give Nuska a file of its own."
            )
        with connection:
            connection.execute(files(__package__).joinpath("schema.sql").read_text("utf-8"))
            connection.execute("INSERT INTO timeline (one, last_moment) VALUES (1, 0)")
            connection.pragma("user_version", VERSION)
    else:
        _expect_known(version, path)
        connection.execute(query("load_unmarked"), (0,)).fetchall()  # it may be an earlier draft's


def expect_ours(connection: apsw.Connection, path: str) -> None:
    """Refuse a file that is not a database of ours, or a newer release's."""
    _expect_known(connection.pragma("user_version"), path)
    try:
        last_moment(connection)
    except apsw.SQLError as error:
        raise Unavailable(f"{path} is no database of Nuska's.") from error


def _expect_known(version: int, path: str) -> None:
    if version > VERSION:
        raise Unavailable(
            f"{path} was written by a newer release (schema {version}; this one knows up to "
            f"{VERSION}). Upgrade Nuska, or give it another data directory."
        )


@contextmanager
def intact(path: str) -> Iterator[None]:
    """Name the file that SQLite cannot make sense of."""
    try:
        yield
    except (apsw.NotADBError, apsw.CorruptError) as error:
        raise Unavailable(
            f"{path} is no database of Nuska's, or is damaged. Restore a backup of it, or give "
            "Nuska another data directory."
        ) from error
    except apsw.SQLError as error:
        raise Unavailable(
            f"{path} does not have the tables of this release ({error}). Start the one that wrote "
            "it, or give Nuska another data directory."
        ) from error


def last_moment(connection: apsw.Connection) -> Moment:
    """The last moment at which anything was written."""
    return Moment(int(connection.execute(query("last_moment")).get))


def last_generation(connection: apsw.Connection) -> int:
    """The highest generation that still has rows."""
    return int(connection.execute(query("last_generation")).get)


def lock(path: Path) -> int:
    """Take the store for this process; the descriptor returned holds it until closed.

    The queue cache and the timeline live in memory, so a second process must not write.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Unavailable(
            f"The data in {path.parent} is in use already, by another process or as another "
            "pool. Stop what uses it, or choose another directory."
        ) from error
    return descriptor
