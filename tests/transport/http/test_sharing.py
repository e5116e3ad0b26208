"""``POST …/share``: what is signed, to the letter of the contract (signed-urls §2–§6)."""

import pytest

from nuska.core import build_core
from nuska.domain.moments import seconds
from nuska.identity.none import NoAuthentication
from nuska.testing.asgi import AsgiDriver
from nuska.transport.http import build_app

from .signed import FAR, ORDERS, PROJECT, House

EXPIRES = "2031-03-04T05:06:07"


@pytest.fixture
def house() -> House:
    return House()


async def test_the_vectors_of_the_contract(house: House) -> None:
    one = await house.share(expires=EXPIRES)
    assert one == {
        "paths": [f"{ORDERS}/messages"],
        "methods": ["GET"],
        "project": PROJECT,
        "expires": EXPIRES,
        "signature": "40e053117abe83e24259f42eb9561ddc29c2b07aeac68dadfef06c658722a783",
    }
    two = await house.share(
        paths=["messages", "claims"], methods=["POST", "GET", "DELETE"], expires=EXPIRES
    )
    assert two == {
        "paths": [f"{ORDERS}/claims", f"{ORDERS}/messages"],
        "methods": ["DELETE", "GET", "POST"],
        "project": PROJECT,
        "expires": EXPIRES,
        "signature": "cdd5def452e1844c45a309876a0aac3cc25cc849bb2b8825e633098f84557516",
    }


@pytest.mark.parametrize("body", [{}, {"paths": [], "methods": []}])
async def test_what_is_not_said_is_messages_and_get_for_a_day(house: House, body: dict) -> None:
    shared = await house.share(**body)
    assert (shared["paths"], shared["methods"]) == ([f"{ORDERS}/messages"], ["GET"])
    assert shared["expires"] == "2030-01-02T00:00:00"


@pytest.mark.parametrize(
    ("expires", "shown"),
    [
        ("2031-03-04T05:06:07", EXPIRES),
        ("2031-03-04 05:06:07", EXPIRES),
        ("2031-03-04T05:06:07Z", EXPIRES),
        ("2031-03-04T07:06:07+02:00", EXPIRES),
        ("2031-03-04T05:06:07.999999", EXPIRES),
    ],
)
async def test_an_expiry_is_shown_in_utc_and_whole_seconds(
    house: House, expires: str, shown: str
) -> None:
    assert (await house.share(expires=expires))["expires"] == shown


@pytest.mark.parametrize(
    "body",
    [
        b"",
        [],
        {"path": ["messages"]},
        {"paths": ["stats"]},
        {"paths": "messages"},
        {"paths": ["/v2/queues/other/messages"]},
        {"methods": "GET"},
        {"methods": [1]},
        {"methods": ["GET,POST"]},
        {"methods": ["GET\\nx"]},
        {"methods": ["A"] * 65},
        {"methods": ["A" * 513]},
        {"expires": 1930367167},
        {"expires": "1930367167"},
        {"expires": "soon"},
        {"expires": "2029-12-31T23:59:59"},
        {"expires": "2030-01-01T00:00:00"},
        {"expires": "2041-01-01T00:00:00"},
        {"expires": "9999-12-31T23:59:59-12:00"},
        {"uses": 1},
    ],
)
async def test_what_cannot_be_shared_is_refused(house: House, body: object) -> None:
    reply = await house.member.post(f"{ORDERS}/share", body)
    assert reply.status == 400
    assert reply.json()["description"]


async def test_methods_that_no_route_has_are_signed_all_the_same(house: House) -> None:
    assert (await house.share(methods=["FOO"]))["methods"] == ["FOO"]


async def test_sharing_makes_no_queue(house: House) -> None:
    await house.share(queue="nowhere")
    assert (await house.member.request("HEAD", "/v2/queues/nowhere")).status == 404


async def test_an_operator_says_for_how_long_one_may_be_good() -> None:
    house = House(max_lifetime=seconds(3600))
    assert (await house.share(expires="2030-01-01T01:00:00"))["signature"]
    for body in ({"expires": "2030-01-01T01:00:01"}, {}):
        assert (await house.member.post(f"{ORDERS}/share", body)).status == 400


async def test_without_a_key_nothing_is_signed() -> None:
    house = House()
    core = build_core(store=house.store, clock=house.clock)
    member = AsgiDriver(
        build_app(core, NoAuthentication()),
        {"Client-ID": "0f8fad5bd9cb469fa16570867728950e", "X-Project-Id": PROJECT},
    )
    reply = await member.post(f"{ORDERS}/share", {})
    assert reply.status == 400
    assert "signing key" in reply.json()["description"]
    assert (await member.post(f"{ORDERS}/grants", {})).status == 400


async def test_a_project_whose_id_could_be_read_in_two_ways_shares_nothing(house: House) -> None:
    member = house.member.with_headers(X_Project_Id="a\\nb")
    assert (await member.post(f"{ORDERS}/share", {})).status == 400


async def test_who_may_only_read_gives_nothing_away(house: House) -> None:
    reader = house.member.with_headers(X_Roles="reader")
    assert (await reader.get(f"{ORDERS}/messages")).status == 200
    for path in ("share", "grants"):
        assert (await reader.post(f"{ORDERS}/{path}", {})).status == 403
    both = house.member.with_headers(X_Roles="reader,member")
    assert (await both.post(f"{ORDERS}/share", {})).status == 200


def test_the_moment_of_the_vectors_is_the_one_they_say() -> None:
    assert FAR == 1_930_367_167_000
