"""A server that wants a user and a password: ``readWrite`` on the database is all Nuska needs."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.asynchronous.client_session import AsyncClientSession

from nuska.domain.errors import Unavailable
from nuska.interfaces.storage import Durability, SharedStore
from nuska.stores.mongodb.store import MongoStore
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import Inbox
from nuska.testing.engine import running
from nuska.testing.mongodb_server import MongoServer
from nuska.testing.opening import opening_stores

USER, PASSWORD = "nuska-user", "s3cret-word"
KEY = "k" * 64
"""By which members know each other; a set that asks for passwords must have one."""


class ClosedServer(MongoServer):
    """Asks for a password, once there is a user."""

    is_closed = False

    def command(self) -> list[str]:
        if not self.is_closed:
            return super().command()
        key = self.directory / "key"
        if not key.exists():
            key.write_text(KEY)
            key.chmod(0o600)
        return [*super().command(), "--auth", "--keyFile", str(key)]


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with running(ClosedServer(tmp_path / "mongodb")) as server:
        with MongoClient(server.url()) as client:
            client["nuska"].command("createUser", USER, pwd=PASSWORD, roles=["readWrite"])
        server.stop()
        server.is_closed = True
        server.start()
        yield server.url().replace("//", f"//{USER}:{PASSWORD}@")


async def test_a_user_who_may_read_and_write_is_enough_also_to_end_what_a_dead_node_left(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands_still = asyncio.Event()

    async def never_commit(session: AsyncClientSession) -> None:
        stands_still.set()
        await asyncio.Event().wait()

    async with opening_stores() as open_at:
        one, other = [
            await open_at(url, required=Durability.FSYNC),
            await open_at(url, required=Durability.FSYNC),
        ]
        assert isinstance(one, SharedStore)
        assert await one.time() > 0
        with monkeypatch.context() as patch:
            patch.setattr(AsyncClientSession, "commit_transaction", never_commit)
            task = asyncio.create_task(Inbox(one, ManualClock()).post("never"))
            await stands_still.wait()
        inbox = Inbox(other, ManualClock())
        await inbox.post("next")
        assert isinstance(other, MongoStore)
        assert other._forsaken.ended == 1
        assert await inbox.listed() == ["next"]
        assert isinstance(one, MongoStore)
        for working in one._writer._tasks:
            working.cancel()
        task.cancel()


async def test_a_wrong_password_is_refused_and_no_password_is_shown(url: str) -> None:
    async with opening_stores() as open_at:
        with pytest.raises(Unavailable, match="Authentication failed") as refused:
            await open_at(url.replace(PASSWORD, "wrong-word"))
    assert "wrong-word" not in str(refused.value)
    assert KEY not in str(refused.value)
