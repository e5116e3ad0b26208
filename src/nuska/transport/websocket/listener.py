"""One subscription of a connection, as whoever reads the queues' logs knows it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nuska.core.connected import Connected
from nuska.core.live import Announced, Ending, Gap
from nuska.transport.websocket.pushes import Pushes, ended_notice, gap_notice

if TYPE_CHECKING:
    from nuska.transport.websocket.session import Session

BROKEN = 1011
"""The close code for what nobody foresaw."""


class Listener:
    """Implements ``core.live.Receiver``."""

    __slots__ = ("_session", "_told_of_gaps", "connected", "detailed")

    def __init__(self, session: "Session", *, detailed: bool, resumes: bool) -> None:
        """``resumes``: it began at a marker. Clients that ask for neither know no notices."""
        self._session = session
        self.detailed = detailed
        self._told_of_gaps = detailed or resumes
        self.connected: Connected | None = None
        """None until it is there."""

    def take(self, batch: Sequence[Announced]) -> None:
        self._session.push(Pushes(batch, self.detailed))

    def gap(self, gap: Gap) -> None:
        if self._told_of_gaps:
            self._session.push(gap_notice(gap))

    def end(self, ending: Ending) -> None:
        if ending is Ending.FAILED:
            self._session.outlet.close(BROKEN, "an unexpected error")

    def say_that_it_ended(self) -> None:
        if self.detailed and self.connected is not None:
            self._session.push(ended_notice(self.connected.id))
