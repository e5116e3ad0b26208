"""How many bytes of messages a process holds that wait to be sent again, or to be written down."""

MOST_HELD = 33_554_432
"""Bytes of what is to be sent again, and as many of what is to be written down."""


class HeldBytes:
    """What this process holds of messages beside pages of logs. Queues together stop at a limit;
    each may always have a little."""

    def __init__(self) -> None:
        self.rows = 0
        """Of rows that have not begun."""
        self.unwritten = 0

    @property
    def is_full(self) -> bool:
        return self.rows >= MOST_HELD

    @property
    def is_full_of_unwritten(self) -> bool:
        return self.unwritten >= MOST_HELD
