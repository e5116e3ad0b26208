"""Nodes on one database wake each other, by a table that they look at (D13)."""

import pytest

from nuska.assembly import Service
from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import Duration
from nuska.stores.sql.polling import KEPT
from nuska.testing.conformance.wakeups import WakeupConformance, post, waits
from nuska.testing.mariadb_server import MariadbServer

INBOX = QueueRef("acme", "inbox")


class TestMariadbWakeups(WakeupConformance):
    @pytest.fixture
    def url(self, server: MariadbServer) -> str:
        return server.url()

    async def test_a_node_that_has_missed_hints_looks_for_itself(
        self, nodes: list[Service], server: MariadbServer
    ) -> None:
        polling = await waits(nodes[1])
        posted = [NewMessage(body=b'"hello"', ttl=Duration(60_000))]
        moment = await nodes[0].store.time()
        await nodes[0].store.messages.add(INBOX, posted, now=moment)  # and nobody says so
        # As if others had said more than the table keeps, while this node was not looking.
        await server.ask(f"INSERT INTO hints (id, payload) SELECT MAX(id) + {KEPT}, '' FROM hints")
        found, _ = await polling
        assert found == [b'"hello"']

    async def test_the_table_of_hints_does_not_grow_without_end(
        self, nodes: list[Service], server: MariadbServer
    ) -> None:
        await server.ask(
            "INSERT INTO hints (payload) SELECT '' FROM "
            f"(SELECT 1 FROM information_schema.columns LIMIT {2 * KEPT}) AS many"
        )
        for number in range(KEPT):
            await post(nodes[0], b"1", queue=f"queue-{number}")
        assert await server.ask("SELECT COUNT(*) FROM hints") < 2 * KEPT
