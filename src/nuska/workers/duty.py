"""One duty among the workers of a node: whoever has it keeps it until its process ends.

A lock of the kernel on a file without a name. It belongs to a process and goes with it, however
that ends, so the next who asks takes over. Refuses to say anything about other hosts.
"""

import fcntl
import os
from tempfile import TemporaryFile


class Duty:
    """Made before the fork; asked in the workers."""

    def __init__(self) -> None:
        with TemporaryFile() as nameless:
            self._file = os.dup(nameless.fileno())

    def close(self) -> None:
        """In this process."""
        os.close(self._file)

    def is_ours(self) -> bool:
        """Whether it is ours from now on. Cheap; to be asked before each piece of the work."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
