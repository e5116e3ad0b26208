"""API keys for programs without an event loop; ``keys`` says what each call does."""

from collections.abc import Iterator, Sequence

from nuska.client.blocking_paging import Iterated
from nuska.client.blocking_pools import Runner
from nuska.client.keys import Key, Keys, MadeKey


class BlockingKeys:
    """See ``Keys``."""

    def __init__(self, portal: Runner, keys: Keys, iterated: Iterated) -> None:
        self._portal = portal
        self._keys = keys
        self._iterated = iterated

    def create(
        self,
        name: str = "",
        *,
        roles: Sequence[str] | None = None,
        queues: Sequence[str] | None = None,
        topics: Sequence[str] | None = None,
        actions: Sequence[str] | None = None,
        ttl: int | None = None,
    ) -> MadeKey:
        return self._portal.run(
            self._keys.create(
                name, roles=roles, queues=queues, topics=topics, actions=actions, ttl=ttl
            )
        )

    def list(self, *, page: int | None = None, marker: str | None = None) -> Iterator[Key]:
        return self._iterated(self._keys.list(page=page, marker=marker))

    def show(self, key_id: str) -> Key:
        return self._portal.run(self._keys.show(key_id))

    def revoke(self, key_id: str) -> None:
        self._portal.run(self._keys.revoke(key_id))
