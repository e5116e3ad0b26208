"""The harness on PostgreSQL."""

from benchmarks.stores.conformance import EngineTests


class TestPostgreSQL(EngineTests):
    STORE = "postgresql"
