"""Several nodes on one store: mariadb."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nuska.testing.conformance.nodes import NodesConformance
from nuska.testing.conformance.skewed_nodes import SkewedNodesConformance
from nuska.testing.conformance.subscribing_nodes import SubscribingNodesConformance
from nuska.testing.engines import ENGINES


class TestNodes(NodesConformance, SkewedNodesConformance, SubscribingNodesConformance):
    @pytest.fixture
    def engine_name(self) -> str:
        return "mariadb"

    @pytest.fixture
    def url(self, tmp_path: Path) -> Iterator[str]:
        with ENGINES["mariadb"](tmp_path / "engine") as engine:
            yield engine.new_url()
