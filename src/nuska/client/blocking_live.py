"""``LiveSubscription`` for programs without an event loop: a thin face, as in ``blocking``."""

from typing import Self

from nuska.client.following import LiveMessage, LiveSubscription
from nuska.client.portal import Portal


class BlockingSubscription:
    """``for message in client.subscribe("jobs")``; entering it with ``with`` subscribes at once."""

    def __init__(self, portal: Portal, live: LiveSubscription) -> None:
        self._portal = portal
        self._live = live

    @property
    def markers(self) -> dict[str, str]:
        """Of each queue, after what to go on."""
        return self._live.markers

    def close(self) -> None:
        """End the subscription, from any thread."""
        self._portal.run(self._live.close())

    def __enter__(self) -> Self:
        self._portal.run(self._live.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> LiveMessage:
        try:
            return self._portal.run(self._live.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None
