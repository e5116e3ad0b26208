"""What a worker process gets from its supervisor."""

import os

from msgspec import Struct

from nuska.workers.board import Board
from nuska.workers.duty import Duty


class Worker(Struct, frozen=True, kw_only=True):
    """One of the processes; made before the fork, used in the child."""

    number: int
    """From 0. Whoever takes the place of one that died has the same."""
    workers: int
    board: Board
    duty: Duty
    """For what only one of them should do."""
    lifeline: int
    """A descriptor that has something to read, its end, as soon as the supervisor has gone."""
    report_to: int

    def ready(self, said: str) -> None:
        """Tell the supervisor that this worker serves, and what people should know."""
        os.write(self.report_to, said.encode())
        os.close(self.report_to)
