"""A store whose process dies at a chosen call, before it takes effect or right after; and one that
does not answer for a while."""

import asyncio
from typing import Any

from nuska.domain.errors import Unavailable
from nuska.interfaces.notifications import SubscribableStore

_PARTS = ("queues", "messages", "claims", "announcements", "records")


class Died(Exception):
    """Nothing of this process reaches the store any more."""


class DyingStore:
    """Passes calls on to ``store`` until the ``at``-th, counted from 1, and none from then on."""

    def __init__(self, store: SubscribableStore, at: int, *, takes_effect: bool) -> None:
        self._store = store
        self._at = at
        self._takes_effect = takes_effect
        self.calls = 0
        self.died = asyncio.Event()
        for name in _PARTS:
            setattr(self, name, _Part(self, getattr(store, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def passed_on(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        if self.died.is_set():
            raise Died
        self.calls += 1
        if self.calls != self._at:
            return await call(*args, **kwargs)
        if self._takes_effect:
            await call(*args, **kwargs)
        self.died.set()
        raise Died


class DumbStore:
    """Answers nothing, with ``Unavailable``, for as long as ``is_dumb``."""

    def __init__(self, store: SubscribableStore) -> None:
        self._store = store
        self.is_dumb = False
        self.refused = asyncio.Event()
        """Somebody was not answered."""
        for name in _PARTS:
            setattr(self, name, _Part(self, getattr(store, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def passed_on(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        if self.is_dumb:
            self.refused.set()
            raise Unavailable("The store does not answer.")
        return await call(*args, **kwargs)


class _Part:
    def __init__(self, owner: "DyingStore | DumbStore", part: object) -> None:
        self._owner = owner
        self._part = part

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._part, name)

        async def passed_on(*args: Any, **kwargs: Any) -> Any:
            return await self._owner.passed_on(call, *args, **kwargs)

        return passed_on
