"""Shared stores by the name of their engine, on servers that are started for a test.

Each is set up so that it promises what it can: every acknowledged write synced to disk. The
module of an engine is imported when it is asked for, and fails then if a program or a package
is missing.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from nuska.testing.engine import Engine


def _redis(directory: Path) -> AbstractContextManager[Engine]:
    from nuska.testing.redis_server import SYNCED, redis_server

    return redis_server(directory, SYNCED)


def _postgresql(_directory: Path) -> AbstractContextManager[Engine]:
    from nuska.testing.postgresql_server import postgresql_server

    return postgresql_server()


def _mariadb(_directory: Path) -> AbstractContextManager[Engine]:
    from nuska.testing.mariadb_server import mariadb_server

    return mariadb_server()


def _mongodb(directory: Path) -> AbstractContextManager[Engine]:
    from nuska.testing.mongodb_server import mongodb_server

    return mongodb_server(directory)


ENGINES: dict[str, Callable[[Path], AbstractContextManager[Engine]]] = {
    "redis": _redis,
    "postgresql": _postgresql,
    "mariadb": _mariadb,
    "mongodb": _mongodb,
}
"""Called with a directory, which it may use; the engine runs for as long as the context."""
