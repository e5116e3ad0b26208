"""Which driver the URL of a store means, and what drivers do for an operator apart from serving:
opening, migrating, backing up, restoring.

A driver is imported only when its store is named. Nothing here looks into a store.
"""

import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

from nuska.domain.errors import Unavailable
from nuska.interfaces.storage import Store, StoreOptions

# Every storage driver, by URL scheme. Imported only when chosen, so that nobody installs a
# client library for a backend they do not use.
STORE_DRIVERS: dict[str, str] = {
    "sqlite": "nuska.stores.sqlite:open_store",
    "memory": "nuska.stores.memory:open_store",
    "redis": "nuska.stores.redis:open_store",
    "rediss": "nuska.stores.redis:open_store",
    "redis+cluster": "nuska.stores.redis:open_store",
    "rediss+cluster": "nuska.stores.redis:open_store",
    "redis+sentinel": "nuska.stores.redis:open_store",
    "rediss+sentinel": "nuska.stores.redis:open_store",
    "postgresql": "nuska.stores.sql:open_store",
    "mysql": "nuska.stores.sql:open_store",
    "mariadb": "nuska.stores.sql:open_store",
    "mongodb": "nuska.stores.mongodb:open_store",
    "mongodb+srv": "nuska.stores.mongodb:open_store",
}

# Stores whose content an operator brings to a newer version by name: ``nuska store migrate``.
STORE_MIGRATIONS: dict[str, str] = {
    "postgresql": "nuska.stores.sql:migrate",
    "mysql": "nuska.stores.sql:migrate",
    "mariadb": "nuska.stores.sql:migrate",
}

# Stores whose file ``nuska store backup`` copies and ``nuska store restore`` puts in place. The
# others are backed up with what their engine has for that.
STORE_BACKUPS: dict[str, str] = {"sqlite": "nuska.stores.sqlite.backup:back_up"}
STORE_RESTORES: dict[str, str] = {"sqlite": "nuska.stores.sqlite.restoring:restore"}
BACKUP_TOOLS = {
    "redis": "the server's own snapshots (BGSAVE)",
    "rediss": "the server's own snapshots (BGSAVE)",
    "postgresql": "pg_dump",
    "mysql": "mariadb-dump",
    "mariadb": "mariadb-dump",
    "mongodb": "mongodump",
}

# Stores that are a file: which one a URL means.
STORE_FILES: dict[str, str] = {"sqlite": "nuska.stores.sqlite.store:path_of"}

# What to install for a driver, where that is not named as its folder is.
STORE_EXTRAS = {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}

_Open: TypeAlias = Callable[[StoreOptions], Awaitable[Store]]
_Migrate: TypeAlias = Callable[[str], Awaitable[bool]]


class CannotStart(Exception):
    """The service cannot run like this; the argument is a sentence for the operator."""


async def open_store(options: StoreOptions) -> Store:
    """The store that the options name, opened. Raises ``CannotStart``."""
    opening: _Open = _driver_function(options.url, STORE_DRIVERS)
    try:
        return await opening(options)
    except Unavailable as error:
        raise CannotStart(error.description) from error
    except ValueError as error:
        raise CannotStart(f"The store cannot be opened: {error}.") from error
    except OSError as error:
        reason = error.strerror or error
        raise CannotStart(f"The data in {options.data_dir} cannot be used: {reason}.") from error


async def migrate_store(url: str) -> bool:
    """Bring a store that an earlier version made to what this one knows; whether there was
    anything to do. Raises ``CannotStart``."""
    scheme = url.partition(":")[0]
    if scheme in STORE_DRIVERS and scheme not in STORE_MIGRATIONS:
        raise CannotStart(f"A store of the kind {scheme!r} never needs this.")
    migrate: _Migrate = _driver_function(url, STORE_MIGRATIONS)
    try:
        return await migrate(url)
    except Unavailable as error:
        raise CannotStart(error.description) from error
    except ValueError as error:
        raise CannotStart(f"The store cannot be opened: {error}.") from error


def place_of(url: str, data_dir: str) -> str:
    """The same for every way to write the path of a store that is a file; looks at the disk. Of
    any other store, and of a URL that cannot be opened, the URL."""
    if url.partition(":")[0] not in STORE_FILES:
        return url
    path_of: Callable[[str, str], Path] = _driver_function(url, STORE_FILES)
    try:
        return os.path.realpath(path_of(url, data_dir))
    except (Unavailable, ValueError, OSError):
        return url


Seen: TypeAlias = Callable[[int, int], None]
"""Told how many bytes are done, of how many."""


def back_up_store(
    url: str, data: Path, target: Path, *, replace: bool, check: bool, seen: Seen
) -> int:
    """Copy a store to a file while it is in use; the file's bytes. Raises ``CannotStart``."""
    back_up = _file_function(url, STORE_BACKUPS)
    with _told("The backup cannot be written"):
        size: int = back_up(url, str(data), target, replace=replace, check=check, seen=seen)
    return size


def restore_store(url: str, data: Path, backup: Path, *, replace: bool, seen: Seen) -> Path | None:
    """Put a backup in the place of a store that nobody uses; where the one before is kept.

    Raises ``CannotStart``.
    """
    restore = _file_function(url, STORE_RESTORES)
    with _told("The backup cannot be put in place"):
        kept: Path | None = restore(url, str(data), backup, replace=replace, seen=seen)
    return kept


def _file_function(url: str, drivers: Mapping[str, str]) -> Any:
    """As ``_driver_function``, for what only a store in a file of ours has."""
    scheme = url.partition(":")[0]
    if scheme == "memory":
        raise CannotStart("A store in memory is gone with its server; there is nothing to copy.")
    if scheme in STORE_DRIVERS and scheme not in drivers:
        engine = scheme.partition("+")[0]
        with_what = f" with {BACKUP_TOOLS[engine]}" if engine in BACKUP_TOOLS else ""
        raise CannotStart(
            f"A store of the kind {scheme!r} is backed up and restored by its own engine"
            f"{with_what}: see docs/backup.md. `nuska queue export` works with every store."
        )
    return _driver_function(url, drivers)


@contextmanager
def _told(trouble: str) -> Iterator[None]:
    """What the operator is told when a file could not be worked with."""
    try:
        yield
    except Unavailable as error:
        raise CannotStart(error.description) from error
    except FileExistsError as error:
        raise CannotStart(f"{trouble}: {error.args[-1]}.") from error
    except OSError as error:
        raise CannotStart(f"{trouble}: {error.strerror or error}.") from error


def _driver_function(url: str, drivers: Mapping[str, str]) -> Any:
    """What a driver offers for this URL, imported only now."""
    scheme = url.partition(":")[0]
    if scheme not in drivers:
        known = ", ".join(f"{name}:" for name in drivers)
        raise CannotStart(f"No store is called {scheme!r}; known are {known}.")
    module, _, name = drivers[scheme].partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "nuska":
            raise
        extra = STORE_EXTRAS.get(scheme, module.rpartition(".")[2])
        raise CannotStart(
            f"The store {scheme!r} needs the Python package {error.name!r}, which is not "
            f"installed. Install it with: pip install 'nuska[{extra}]'"
        ) from error
