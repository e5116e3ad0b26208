"""Several nodes on one store: mariadb."""

from collections.abc import Iterator

import pytest

from nuska.testing.conformance.full_nodes import FullNodesConformance
from nuska.testing.conformance.killed_nodes import KilledNodesConformance
from nuska.testing.conformance.limited_nodes import LimitedNodesConformance
from nuska.testing.conformance.listening_nodes import ListeningNodesConformance
from nuska.testing.conformance.nodes import NodesConformance
from nuska.testing.conformance.subscribing_nodes import SubscribingNodesConformance
from nuska.testing.engine import Engine
from nuska.testing.engines import ENGINES


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with ENGINES["mariadb"](tmp_path_factory.mktemp("engine")) as engine:
        yield engine


class TestNodes(
    NodesConformance,
    SubscribingNodesConformance,
    ListeningNodesConformance,
    LimitedNodesConformance,
    FullNodesConformance,
    KilledNodesConformance,
):
    @pytest.fixture
    def engine_name(self) -> str:
        return "mariadb"

    @pytest.fixture
    def url(self, engine: Engine) -> str:
        return engine.new_url()
