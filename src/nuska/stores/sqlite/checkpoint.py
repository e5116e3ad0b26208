"""Copying the write-ahead log into the database file, beside the writes.

A passive checkpoint runs in a thread while writes go on, so it never stalls a request; but
as long as writes go on it never catches up with the log's end, and only a log that was
copied to its end starts over. So when the log has grown large, the writer holds its next
transaction for the moment that the last few pages take.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import apsw
import structlog

from nuska.stores.sqlite.connection import close

CHECKPOINT_PAGES = 2_000
"""Pages in the log (8 MB) that make a checkpoint worth its sync."""
RESET_PAGES = 8_000
"""Pages in the log (32 MB) at which it must start over."""

log = structlog.get_logger(__name__)


class Checkpointer:
    """Owns the checkpoint thread and its connection."""

    def __init__(self, open_connection: Callable[[], apsw.Connection]) -> None:
        self._open_connection = open_connection
        self._connection: apsw.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-checkpoint")
        self._running: asyncio.Task[None] | None = None
        self._copied_at = 0
        self._catch_up = False
        self.resume: Callable[[], None] = lambda: None
        """Called when the writer may go on; set by the store."""
        self.doubt: Callable[[], None] = lambda: None
        """Called when the disk failed; set by the store."""

    def after_commit(self, wal_pages: int) -> bool:
        """Start a checkpoint when one is due. True: the writer is to hold for it."""
        if self._running is not None:
            return False
        if wal_pages < self._copied_at:
            self._copied_at = 0  # the log has started over
        catch_up, self._catch_up = self._catch_up, False
        if not catch_up and wal_pages - self._copied_at < CHECKPOINT_PAGES:
            return False
        self._running = asyncio.get_running_loop().create_task(
            self._checkpoint(wal_pages, hold=catch_up), name="sqlite-checkpoint"
        )
        return catch_up

    async def _checkpoint(self, wal_pages: int, *, hold: bool, to_the_end: bool = False) -> None:
        self._copied_at = wal_pages  # also on failure: the next round comes soon enough
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._copy, to_the_end)
            self._catch_up = not hold and wal_pages >= RESET_PAGES
        except apsw.BusyError:
            pass  # a reader is in the way; the next round will do
        except (apsw.Error, OSError) as error:
            # The log still holds everything; the writer meets the same disk and says so.
            log.warning("checkpoint failed", error=str(error))
            if isinstance(error, apsw.IOError):
                self.doubt()
        finally:
            self._running = None
            if hold:
                self.resume()

    def _copy(self, to_the_end: bool) -> None:
        if self._connection is None:
            self._connection = self._open_connection()
        mode = apsw.SQLITE_CHECKPOINT_TRUNCATE if to_the_end else apsw.SQLITE_CHECKPOINT_PASSIVE
        try:
            self._connection.wal_checkpoint(mode=mode)
        except apsw.BusyError:
            raise
        except apsw.Error:
            broken, self._connection = self._connection, None
            close(broken, keep_log=True)
            raise

    async def cut_log(self) -> None:
        """Copy everything and give the log's space back. The writer must be on hold."""
        if self._running is not None:
            return
        self._running = asyncio.get_running_loop().create_task(
            self._checkpoint(0, hold=False, to_the_end=True), name="sqlite-cut-log"
        )
        await self._running

    async def quiet(self) -> None:
        """Wait for the checkpoint under way, if there is one."""
        if self._running is not None:
            await self._running

    def let_go(self, *, keep_log: bool) -> None:
        """Close the connection; the next checkpoint opens another."""
        if self._connection is not None:
            close(self._connection, keep_log=keep_log)
            self._connection = None

    async def close(self, *, keep_log: bool = False) -> None:
        """Copy everything, so that the next start finds an empty log, and let go.

        ``keep_log``: copy nothing, since what the log shows may not be on the disk.
        """
        await self.quiet()
        loop = asyncio.get_running_loop()
        try:
            if not keep_log:
                await loop.run_in_executor(self._thread, self._copy, True)
        except (apsw.Error, OSError) as error:
            log.warning("checkpoint at close failed", error=str(error))
            keep_log = True
        finally:
            await asyncio.to_thread(self._thread.shutdown)
            self.let_go(keep_log=keep_log)
