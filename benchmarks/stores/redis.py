"""Redis: one server that syncs every write; raw is redis-py calling the same functions.

A function call is what any client of Redis would use for a step of several commands, so the
floor is the call itself, with nothing around it.
"""

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from benchmarks.filling import in_store_at, small, wall_clock
from benchmarks.processes import with_descendants
from benchmarks.stores.engine import CLAIM_TTL, GRACE, POSTER, RAW_QUEUE, Held
from nuska.domain.messages import NewMessage
from nuska.domain.positions import SALT_BYTES
from nuska.interfaces.storage import Store
from nuska.stores.redis.names import Names
from nuska.stores.redis.rows import HEAD, encode_new, held_by, place
from nuska.testing.redis_server import RedisServer, redis_server


@contextmanager
def running(directory: Path) -> Iterator["RedisEngine"]:
    with redis_server(directory) as server:
        yield RedisEngine(server)


class RedisEngine:
    """``Engine``; a store of its own is a prefix of its own."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._version = ""

    @property
    def about(self) -> str:
        return f"Redis {self._version}, one server, appendonly yes, appendfsync always"

    def pids(self) -> list[int]:
        return with_descendants(self._server.pids()[0])

    async def space(self, name: str) -> str:
        await self._info()
        return f"{self._server.url}?prefix={name}:"

    async def raw(self, name: str) -> "RawRedis":
        await in_store_at(await self.space(name), _prepare, data=self._server.directory)
        return RawRedis(self._client(), Names(f"{name}:").header(RAW_QUEUE))

    async def held(self, _name: str) -> Held:
        info = await self._info()
        return Held(memory=info["used_memory_dataset"], disk=info["aof_current_size"])

    async def steps(self) -> dict[str, float]:
        info = await self._info()
        return {"reads of a socket": info["total_reads_processed"]}

    async def _info(self) -> dict[str, Any]:
        async with self._client() as client:
            info: dict[str, Any] = await client.info("everything")
        self._version = info["redis_version"]
        return info

    def _client(self) -> "Redis":
        return Redis(host="127.0.0.1", port=self._server.port, single_connection_client=True)


async def _prepare(store: Store) -> None:
    """Load the functions; write the index entries that the first post and claim need."""
    await store.messages.add(RAW_QUEUE, [small()], now=wall_clock())
    claimed = await store.claims.create(
        RAW_QUEUE, claim_id="0" * 24, limit=1, ttl=CLAIM_TTL, grace=GRACE, now=wall_clock()
    )
    ids = [message.id for message in claimed.messages]
    await store.messages.delete_many(RAW_QUEUE, ids, now=wall_clock())


class RawRedis:
    """``Raw``; a message is named by its place and salt, as the functions take it."""

    def __init__(self, client: "Redis", key: str) -> None:
        self._client = client
        self._key = key

    async def post(self, messages: Sequence[NewMessage]) -> list[bytes]:
        salts = [os.urandom(SALT_BYTES) for _ in messages]
        new = [encode_new(message, salt) for message, salt in zip(messages, salts, strict=True)]
        answer = await self._call("nuska_add_messages", 1, "", "", POSTER, "", "", *new)
        first = int(answer[1])
        return [place(first + index).encode() + salt for index, salt in enumerate(salts)]

    async def claim(self, limit: int) -> list[bytes]:
        claim = held_by(secrets.token_hex(12))
        rule = ("", 0, "", "", "", "")
        needs = ("", "", "", "")
        answer = await self._call(
            "nuska_create_claim", 2, *needs, claim, limit, CLAIM_TTL, GRACE, *rule
        )
        messages = answer[3:]
        return [
            messages[index] + HEAD.unpack_from(messages[index + 1])[1]
            for index in range(0, len(messages), 3)
        ]

    async def delete(self, messages: Sequence[bytes]) -> None:
        if len(messages) == 1:
            await self._call("nuska_delete_message", 1, "", "", messages[0], "")
        else:
            await self._call("nuska_delete_messages", 1, "", "", "", *messages)

    async def close(self) -> None:
        await self._client.aclose()

    async def _call(self, function: str, keys: int, *arguments: Any) -> Any:
        answer = await self._client.execute_command(
            "FCALL", function, keys, *[self._key] * keys, wall_clock(), *arguments
        )
        if answer[0] not in (b"added", b"claimed", b"deleted"):
            raise RuntimeError(f"{function}: {answer[0]!r}")
        return answer
