"""Nodes on one database wake each other, by what the database carries (D13)."""

import time
from collections.abc import Iterator

import pytest
from pymongo import MongoClient

from nuska.assembly import Service
from nuska.stores.mongodb.hints import LONGEST_PAUSE, NAME
from nuska.testing.conformance.wakeups import (
    QUICKLY,
    WakeupConformance,
    post,
    until_heard,
    waits,
)
from nuska.testing.mongodb_server import MongoServer, mongodb_server


@pytest.fixture(scope="module")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    with mongodb_server(tmp_path_factory.mktemp("mongodb")) as server:
        yield server


class TestMongodbWakeups(WakeupConformance):
    @pytest.fixture
    def url(self, one_server: MongoServer) -> str:
        return one_server.new_url()

    async def test_nodes_that_cannot_hear_each_other_look_for_themselves(
        self, nodes: list[Service], url: str
    ) -> None:
        with MongoClient(url) as client:
            client.get_default_database().drop_collection(NAME)
            client.get_default_database().create_collection(NAME)  # nobody can follow it
        polling = await waits(nodes[1])
        began = time.monotonic()
        await post(nodes[0], b'"unheard"')
        found, at = await polling
        assert found == [b'"unheard"']
        assert at - began < LONGEST_PAUSE + QUICKLY

    async def test_nodes_whose_connections_were_cut_hear_each_other_again(
        self, nodes: list[Service], one_server: MongoServer
    ) -> None:
        cut = one_server.ask("killAllSessions", [])
        assert cut["ok"]
        polling = await waits(nodes[1])
        began = time.monotonic()
        await post(nodes[0], b'"hello"')
        found, at = await polling
        assert found == [b'"hello"']
        assert at - began < LONGEST_PAUSE + QUICKLY
        await until_heard(nodes)
