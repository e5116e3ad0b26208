"""Redis servers as a node sees them that dies: so many commands, and nothing after them."""

from typing import Any

from nuska.domain.errors import Unavailable
from nuska.stores.redis.lane import Part
from nuska.stores.redis.servers import Command, Servers


class Mortal:
    """Servers that carry out so many commands and then do not answer any more."""

    def __init__(self, servers: Servers, commands: int, *, last_is_done: bool) -> None:
        self._servers = servers
        self.left = commands
        self._last_is_done = last_is_done

    async def call(self, key: str, *command: Part) -> Any:
        self.left -= 1
        if self.left < 0 or (self.left == 0 and not self._last_is_done):
            raise Unavailable("dead")
        answer = await self._servers.call(key, *command)
        if self.left == 0:
            raise Unavailable("died before it heard the answer")
        return answer

    async def call_after(self, entry: Command, key: str, *command: Part) -> Any:
        """As two commands, so that it may die between them, as it may with a cluster."""
        await self.call(entry[0], *entry[1])
        return await self.call(key, *command)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._servers, name)
