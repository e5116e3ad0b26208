"""An event loop in a thread of its own, for programs that have none."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

NOT_OPEN = "this client is not open: use it as `with BlockingClient(…) as client`"


class Portal:
    """An event loop in a thread, to run coroutines in from other threads."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, name="nuska client", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``; an interrupted wait cancels it."""
        if self._loop.is_closed():
            work.close()
            raise RuntimeError(NOT_OPEN)
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _work(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._cancel_rest())
        finally:
            self._loop.close()

    async def _cancel_rest(self) -> None:
        """A claim whose block was never left is still being renewed; its owner is gone."""
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await self._loop.shutdown_asyncgens()
