"""After the disk failed: rest on nothing that may not be there.

When a sync fails, Linux counts the pages as clean and never writes them again, though every
reader still sees them; the next sync succeeds and says nothing about them. Two things could
rest on such pages: frames in the log that nobody had synced yet (of relaxed queues, D18), in
front of the next durable ones; and pages of the database file that an earlier checkpoint
counts as copied. So before the next transaction
    the log is cut behind the last commit, written over itself and synced, here; and
    every connection is closed and opened anew (store.py): SQLite then reads the log as after
    a crash, and copies all of it again. It still holds everything since the last checkpoint
    whose sync succeeded.
Until that has succeeded, nothing is written and no checkpoint runs; reads go on.

Refuses to guess what a failed sync has lost.
"""

from pathlib import Path

import apsw

from nuska.stores.sqlite.queries import query

LOG_SUFFIX = "-wal"
LOG_HEADER = 32
FRAME_HEADER = 24
CHUNK = 64 * 1024
"""SQLite's own VFS takes less than 128 KiB at a time."""


def committed_size(connection: apsw.Connection) -> int:
    """The bytes of the log up to the last commit; behind it is what failed."""
    page_size = connection.pragma("page_size")
    connection.execute(query("last_moment")).fetchall()  # any read: it looks at the log
    frames, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
    if frames < 0:
        raise apsw.IOError("the log cannot be read")
    return LOG_HEADER + frames * (FRAME_HEADER + page_size) if frames else 0


def rewrite_log(path: str, vfs: str | None, committed: int | None = None) -> None:
    """Write the log of the database at ``path`` over itself, as far as committed, and sync it.

    The same bytes in the same places, so a crash on the way changes nothing.
    """
    name = path + LOG_SUFFIX
    if not Path(name).exists():
        return
    log = apsw.VFSFile(vfs or "", name, [apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_READWRITE, 0])
    try:
        size = log.xFileSize()
        if committed is not None and committed < size:
            size = committed
            log.xTruncate(size)
        for offset in range(0, size, CHUNK):
            log.xWrite(log.xRead(min(CHUNK, size - offset), offset), offset)
        log.xSync(apsw.SQLITE_SYNC_NORMAL)
    finally:
        log.xClose()
