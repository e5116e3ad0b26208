"""The thread that waits for the disk, and the handshake by which it begins at once.

A thread that has been given something to do needs the interpreter lock to begin, and gets it
when the event loop has nothing left to do: a commit would begin late just when there is most
to do besides. So the event loop's thread lets go of the lock until the commit is under way.
No job may raise.
"""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread

LONGEST_HANDSHAKE = 0.002
"""Seconds that the event loop waits for the thread, should the machine let it wait; the
commit then begins when it can."""


class CommitThread:
    """Does what it is given, one after the other."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Callable[[], None], Lock] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="sqlite-commit", daemon=True)
        self._thread.start()

    def begin(self, job: Callable[[], None]) -> None:
        """Have ``job`` done; it is about to wait for the disk when this returns."""
        begins = Lock()
        begins.acquire()
        self._jobs.put((job, begins))
        begins.acquire(timeout=LONGEST_HANDSHAKE)

    def stop(self) -> None:
        """Wait until everything is done; not for the event loop's thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (given := self._jobs.get()) is not None:
            job, begins = given
            # Nobody else has the interpreter lock before the job waits for the disk.
            begins.release()
            job()
            del given, job  # while the next is waited for
