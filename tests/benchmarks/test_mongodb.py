"""The harness on MongoDB."""

from benchmarks.stores.conformance import EngineTests


class TestMongoDB(EngineTests):
    STORE = "mongodb"
