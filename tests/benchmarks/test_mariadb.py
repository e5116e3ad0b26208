"""The harness on MariaDB."""

from benchmarks.stores.conformance import EngineTests


class TestMariaDB(EngineTests):
    STORE = "mariadb"
