"""Nodes on one database wake each other, by what the database carries (D13)."""

import time

import pytest

from nuska.assembly import Service
from nuska.stores.sql.dialects.interface import LISTENER
from nuska.stores.sql.hints import LONGEST_PAUSE
from nuska.testing.conformance.wakeups import (
    QUICKLY,
    WakeupConformance,
    post,
    until_heard,
    waits,
)
from nuska.testing.postgresql_server import PostgresqlServer

ELSEWHERE = "template1"
"""A database that no node uses."""
CUT_WHO_LISTENS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    f"WHERE application_name = '{LISTENER}'"
)


class TestPostgresqlWakeups(WakeupConformance):
    @pytest.fixture
    def url(self, server: PostgresqlServer) -> str:
        return server.url()

    async def test_nodes_whose_connections_were_cut_hear_each_other_again(
        self, nodes: list[Service], server: PostgresqlServer
    ) -> None:
        polling = await waits(nodes[1])
        assert await server.ask(CUT_WHO_LISTENS) == len(nodes)
        began = time.monotonic()
        await post(nodes[0], b'"hello"')
        found, at = await polling
        assert found == [b'"hello"']
        assert at - began < LONGEST_PAUSE + QUICKLY
        await until_heard(nodes)

    async def test_nodes_that_cannot_hear_each_other_look_for_themselves(
        self, nodes: list[Service], server: PostgresqlServer
    ) -> None:
        await server.ask("ALTER DATABASE postgres ALLOW_CONNECTIONS false", ELSEWHERE)
        assert await server.ask(CUT_WHO_LISTENS, ELSEWHERE) == len(nodes)
        polling = await waits(nodes[1])
        began = time.monotonic()
        await post(nodes[0], b'"unheard"')
        found, at = await polling
        assert found == [b'"unheard"']
        assert at - began < LONGEST_PAUSE + QUICKLY
        await server.ask("ALTER DATABASE postgres ALLOW_CONNECTIONS true", ELSEWHERE)
        await until_heard(nodes)
