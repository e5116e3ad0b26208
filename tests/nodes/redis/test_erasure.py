"""Encryption keys erased through one node, while others post and read."""

import asyncio
from base64 import b64encode
from pathlib import Path

import pytest

from nuska.client import ADMIN, Client
from nuska.core.vault import REMEMBERED_FOR
from nuska.testing.server_process import ServerProcess

pytestmark = pytest.mark.slow
KEY = b64encode(b"k" * 32).decode()
SECRET = "the combination is 4711-0815"


async def test_an_erasure_has_ended_for_every_node_when_it_is_answered(
    tmp_path: Path, url: str, project: str
) -> None:
    keys = tmp_path / "encryption.keys"
    keys.write_text(KEY)
    environment = {"NUSKA_ENCRYPTION_KEYS_FILE": str(keys)}
    with (
        ServerProcess(tmp_path / "one", "--admin-mode", store=url, environment=environment) as one,
        ServerProcess(tmp_path / "two", store=url, environment=environment) as two,
    ):
        async with (
            Client(one.url, project=project, headers=ADMIN) as admin,
            Client(two.url, project=project) as elsewhere,
        ):
            queue = elsewhere.queue("vault")
            await queue.create({"_enable_encrypt_messages": True})
            await queue.post(SECRET)
            erasing = asyncio.create_task(admin.encryption.erase())
            loop, moments = asyncio.get_running_loop(), list[float]()
            while not erasing.done():
                moments.append(loop.time())
                await queue.post(len(moments) - 1)
                await asyncio.sleep(0.1)
            assert await erasing == 1
            late_enough = loop.time() - REMEMBERED_FOR / 1000
            after = await queue.post("after")
            found = [(message.id, message.body) async for message in queue.messages(echo=True)]
            bodies = [body for _, body in found]
            assert SECRET not in bodies
            assert found[-1] == (after, "after")
            first = bodies[0]
            assert isinstance(first, int)
            kept_at_the_latest = next(n for n, at in enumerate(moments) if at > late_enough)
            assert 0 < first <= kept_at_the_latest, "what is posted late enough is kept"
            assert bodies == [*range(first, len(moments)), "after"]
