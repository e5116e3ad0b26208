"""What an address may say beside where the database is."""

import pytest
from sqlalchemy import make_url

from nuska.interfaces.storage import Durability
from nuska.stores.sql.database import Database
from nuska.stores.sql.dialects.postgresql import PostgreSQL
from nuska.stores.sql.postgresql_durability import Found, PostgresqlDemand
from nuska.stores.sql.promises import TooWeak
from nuska.stores.sql.url import parse

WHERE = "postgresql://nuska@127.0.0.1/nuska"


@pytest.mark.parametrize("option", ["replicas=0", "replicas=many", "pooler=session"])
def test_an_option_with_a_value_that_means_nothing_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match=option.partition("=")[0]):
        parse(f"{WHERE}?{option}")


def test_no_hints_are_expected_through_a_pooler_that_changes_sessions() -> None:
    assert Database(parse(WHERE)).carries_hints
    assert not Database(parse(f"{WHERE}?pooler=transaction")).carries_hints


def test_a_demand_sets_no_session_that_is_a_poolers() -> None:
    url = make_url(f"{WHERE}?pooler=transaction")
    demand = PostgreSQL().demand(Durability.FSYNC, url)
    assert isinstance(demand, PostgresqlDemand)
    with pytest.raises(TooWeak, match="synchronous_commit off"):
        demand.follows(Found(synchronous_commit="off"))
