"""Notifications of a node on the embedded store that is killed; shared stores: ``tests/nodes``."""

import pytest

from nuska.testing.conformance.killed_nodes import KilledNodesConformance


class TestSqlite(KilledNodesConformance):
    NODES = 1

    @pytest.fixture
    def url(self) -> str:
        return "sqlite:"
