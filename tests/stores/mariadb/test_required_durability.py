"""What the server's settings promise, and a demand that they do not meet."""

import pytest

from nuska.domain.errors import Unavailable
from nuska.interfaces.storage import Durability
from nuska.stores.sql.dialects.mysql_durability import promised_by
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import Inbox
from nuska.testing.mariadb_server import MariadbServer

NONE, FSYNC = Durability.NONE, Durability.FSYNC
USUAL = {"innodb_flush_log_at_trx_commit": "1", "log_bin": "OFF", "sync_binlog": "0"}


@pytest.mark.parametrize(
    ("change", "level", "says"),
    [
        ({}, FSYNC, "synced to disk"),
        ({"innodb_flush_log_at_trx_commit": "3"}, FSYNC, "synced to disk"),
        ({"innodb_flush_log_at_trx_commit": "2"}, NONE, "innodb_flush_log_at_trx_commit 2"),
        ({"innodb_flush_log_at_trx_commit": "0"}, NONE, "innodb_flush_log_at_trx_commit 0"),
        ({"innodb_flush_method": "nosync"}, NONE, "innodb_flush_method nosync"),
        ({"log_bin": "ON"}, NONE, "sync_binlog 0"),
        ({"log_bin": "ON", "sync_binlog": "1"}, FSYNC, "synced to disk"),
        ({"rpl_semi_sync_master_enabled": "ON"}, FSYNC, "unless that took too long"),
        ({"rpl_semi_sync_source_enabled": "ON"}, FSYNC, "unless that took too long"),
    ],
)
def test_settings_promise_what_they_promise(
    change: dict[str, str], level: Durability, says: str
) -> None:
    promise = promised_by(USUAL | change)
    assert promise.level is level
    assert says in promise.sentence


async def test_a_server_that_syncs_meets_the_demand(server: MariadbServer, open_at) -> None:
    store = await open_at(server.url(), required=FSYNC)
    assert store.capabilities.durability is FSYNC


@pytest.mark.parametrize(
    ("required", "says"),
    [
        (FSYNC, "--require-durability fsync: .*innodb_flush_log_at_trx_commit 2"),
        (Durability.MAJORITY, "--require-durability majority: .*cannot promise a majority"),
    ],
)
async def test_a_demand_that_is_not_met_is_refused_and_says_why(
    server: MariadbServer, open_at, required: Durability, says: str
) -> None:
    await server.ask("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    with pytest.raises(Unavailable, match=says):
        await open_at(server.url(), required=required)


async def test_a_server_that_became_too_weak_is_written_to_no_more(
    server: MariadbServer, open_at
) -> None:
    store = await open_at(server.url(), required=FSYNC)
    inbox = Inbox(store, ManualClock())
    await inbox.post("before")
    await server.ask("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    with pytest.raises(Unavailable):
        await store.look_at_settings()
    with pytest.raises(Unavailable, match="less than is demanded"):
        await inbox.post("while it is weak")
    await server.ask("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
    await inbox.post("after")
    assert await inbox.listed() == ["before", "after"]
