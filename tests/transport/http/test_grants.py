"""Pre-signed URLs that are kept: narrowed, counted, listed, and refused from the moment that they
are revoked (I20)."""

import asyncio
from typing import Any
from urllib.parse import parse_qs

import pytest

from nuska.core import build_core
from nuska.core.grants import GrantRecords
from nuska.core.sharing import MAX_GRANTS, SharingRules
from nuska.domain.errors import Unavailable
from nuska.domain.quotas import Quota
from nuska.domain.signing import Signer
from nuska.identity.none import NoAuthentication
from nuska.testing.asgi import AsgiDriver
from nuska.transport.http import build_app

from .signed import BODY, KEY, NOT_FOUND, ORDERS, PROJECT, House, headers_of, query_of

MESSAGES = f"{ORDERS}/messages"


@pytest.fixture
def house() -> House:
    return House()


async def status(driver: AsgiDriver, *args: Any, **more: Any) -> int:
    return (await driver.request(*args, **more)).status


async def test_one_is_shown_whole_only_when_it_is_made(house: House) -> None:
    made = await house.grant(methods=["POST"], note="the sensor on the roof", uses=5)
    assert made["signature"].startswith(f"{made['id']}.")
    path, _, query = made["urls"][0].partition("?")
    assert (path, parse_qs(query)) == (MESSAGES, parse_qs(query_of(made)))
    shown = await house.member.get(f"{ORDERS}/grants/{made['id']}")
    assert shown.json() == {
        "id": made["id"],
        "queue_name": "orders",
        "paths": [MESSAGES],
        "methods": ["POST"],
        "created": "2030-01-01T00:00:00Z",
        "expires": "2030-01-02T00:00:00",
        "note": "the sensor on the roof",
        "max_body": None,
        "max_batch": None,
        "uses": 5,
        "used": 0,
        "networks": [],
    }
    listed = await house.member.get(f"{ORDERS}/grants")
    assert listed.json()["grants"] == [shown.json()]
    assert made["signature"].encode() not in listed.body


@pytest.mark.parametrize("way", ["headers", "link"])
async def test_one_that_is_revoked_is_refused_at_once(house: House, way: str) -> None:
    made = await house.grant()
    target = MESSAGES if way == "headers" else made["urls"][0]
    headers = headers_of(made) if way == "headers" else {}
    assert await status(house.stranger, "GET", target, headers=headers) == 200
    one = f"{ORDERS}/grants/{made['id']}"
    assert [await status(house.member, "DELETE", one) for _ in range(2)] == [204, 204]
    reply = await house.stranger.get(target, headers=headers)
    assert (reply.status, reply.json()) == NOT_FOUND
    assert await status(house.member, "GET", one) == 404


async def test_another_node_refuses_what_this_one_has_revoked(house: House) -> None:
    other = build_core(
        store=house.store, clock=house.clock, sharing=SharingRules(signer=Signer(KEY))
    )
    nobody = AsgiDriver(build_app(other, NoAuthentication()), {})
    made = await house.grant()
    assert await status(nobody, "GET", made["urls"][0]) == 200
    await house.member.delete(f"{ORDERS}/grants/{made['id']}")
    assert await status(nobody, "GET", made["urls"][0]) == 404


async def test_uses_are_counted_exactly_however_many_come_at_once(house: House) -> None:
    made = await house.grant(methods=["POST"], uses=7)
    target = made["urls"][0]
    asked = [status(house.nobody, "POST", target, BODY) for _ in range(40)]
    assert sorted(await asyncio.gather(*asked)) == [201] * 7 + [404] * 33
    found = await house.member.get(f"{ORDERS}/grants/{made['id']}")
    assert found.json()["used"] == 7
    assert (await house.member.get(f"{ORDERS}/stats")).json()["messages"]["total"] == 7


async def test_two_nodes_give_no_more_uses_than_there_are(house: House) -> None:
    other = build_core(
        store=house.store, clock=house.clock, sharing=SharingRules(signer=Signer(KEY))
    )
    drivers = [house.nobody, AsgiDriver(build_app(other, NoAuthentication()), {})]
    made = await house.grant(methods=["POST"], uses=5)
    asked = [status(drivers[n % 2], "POST", made["urls"][0], BODY) for n in range(24)]
    assert (await asyncio.gather(*asked)).count(201) == 5


async def test_a_request_that_fails_later_is_a_use_all_the_same(house: House) -> None:
    made = await house.grant(methods=["POST"], uses=1)
    assert await status(house.nobody, "POST", made["urls"][0], b"no JSON") == 400
    assert await status(house.nobody, "POST", made["urls"][0], BODY) == 404


@pytest.mark.parametrize("limit", ["requests_per_second", "messages_per_second"])
async def test_a_request_that_is_too_fast_for_its_project_is_no_use(
    house: House, limit: str
) -> None:
    sharing = SharingRules(signer=Signer(KEY))
    quota = Quota(**{limit: 2})
    limited = build_core(store=house.store, clock=house.clock, sharing=sharing, quota=quota)
    nobody = AsgiDriver(build_app(limited, NoAuthentication()), {})
    made = await house.grant(methods=["POST"], uses=3)
    asked = [await status(nobody, "POST", made["urls"][0], BODY) for _ in range(5)]
    assert asked == [201] * 2 + [503] * 3
    house.clock.advance(seconds=1)
    assert await status(nobody, "POST", made["urls"][0], BODY) == 201
    assert await status(nobody, "POST", made["urls"][0], BODY) == 404, "they are used up"
    found = await house.member.get(f"{ORDERS}/grants/{made['id']}")
    assert found.json()["used"] == 3


async def test_a_use_that_cannot_be_given_back_is_only_a_use(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharing = SharingRules(signer=Signer(KEY))
    quota = Quota(messages_per_second=1)
    limited = build_core(store=house.store, clock=house.clock, sharing=sharing, quota=quota)
    nobody = AsgiDriver(build_app(limited, NoAuthentication()), {})
    made = await house.grant(methods=["POST"], uses=3)
    assert await status(nobody, "POST", made["urls"][0], BODY) == 201

    async def uncount(*_: object) -> None:
        raise Unavailable("down")

    monkeypatch.setattr(GrantRecords, "uncount", uncount)
    assert await status(nobody, "POST", made["urls"][0], BODY) == 503
    found = await house.member.get(f"{ORDERS}/grants/{made['id']}")
    assert found.json()["used"] == 2


async def test_a_body_and_a_batch_have_the_size_that_was_given(house: House) -> None:
    made = await house.grant(methods=["POST"], max_body=60, max_batch=2)
    target = made["urls"][0]
    small = {"messages": [{"body": 1}] * 2}
    assert await status(house.nobody, "POST", target, small) == 201
    for body in ({"messages": [{"body": 1}] * 3}, {"messages": [{"body": "x" * 60}]}):
        assert await status(house.nobody, "POST", target, body) == 400
    assert await status(house.member, "POST", MESSAGES, {"messages": [{"body": 1}] * 3}) == 201


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (("192.0.2.7", 4000), 200),
        (("::ffff:192.0.2.7", 4000), 200),
        (("2001:db8::1", 4000), 200),
        (("198.51.100.1", 4000), 404),
        (("2001:db9::1", 4000), 404),
        (None, 404),
    ],
)
async def test_one_is_good_from_its_networks_alone(
    house: House, client: object, expected: int
) -> None:
    made = await house.grant(networks=["192.0.2.0/24", "2001:db8::/32"])
    reply = await house.nobody.get(
        made["urls"][0],
        headers={"X-Forwarded-For": "192.0.2.7", "Forwarded": "for=192.0.2.7"},
        scope={"client": client},
    )
    assert reply.status == expected


async def test_one_that_has_expired_is_gone_and_makes_room(house: House) -> None:
    made = await house.grant(expires="2030-01-01T00:01:00")
    house.clock.advance(seconds=60)
    assert await status(house.nobody, "GET", made["urls"][0]) == 404
    assert (await house.member.get(f"{ORDERS}/grants")).json() == {"grants": [], "links": []}
    await house.grant()
    page = await house.core.sharing._grants._records.page("grants", limit=10)
    assert len(page) == 1


async def test_a_queue_has_a_bounded_number(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_GRANTS > 3
    monkeypatch.setattr("nuska.core.sharing.MAX_GRANTS", 3)
    for _ in range(3):
        await house.grant()
    reply = await house.member.post(f"{ORDERS}/grants", {})
    assert (reply.status, reply.json()["title"]) == (409, "Resource conflict")


async def test_those_of_a_project_are_listed_by_queue_page_by_page(house: House) -> None:
    made = [(await house.grant(queue=name))["id"] for name in ("b", "a", "c", "a")]
    stranger = house.member.with_headers(X_Project_Id="other")
    assert (await stranger.get("/v2/grants")).json()["grants"] == []
    seen, target = [], "/v2/grants?limit=2"
    while True:
        page = (await house.member.get(target)).json()
        if not page["grants"]:
            break
        seen += [(one["queue_name"], one["id"]) for one in page["grants"]]
        target = page["links"][0]["href"]
    assert [queue for queue, _ in seen] == ["a", "a", "b", "c"]
    assert {id_ for _, id_ in seen} == set(made)
    of_a = (await house.member.get("/v2/queues/a/grants?limit=1")).json()
    again = (await house.member.get(of_a["links"][0]["href"])).json()
    assert {of_a["grants"][0]["id"], again["grants"][0]["id"]} == {made[1], made[3]}


async def test_nobody_sees_or_revokes_those_of_another_project(house: House) -> None:
    made = await house.grant()
    other = house.member.with_headers(X_Project_Id="other")
    one = f"{ORDERS}/grants/{made['id']}"
    assert await status(other, "GET", one) == 404
    assert await status(other, "DELETE", one) == 204
    assert await status(house.nobody, "GET", made["urls"][0]) == 200


async def test_an_id_that_was_not_signed_is_none(house: House) -> None:
    one, other = await house.grant(), await house.grant(methods=["POST"])
    plain = await house.share()
    forged = [
        one["signature"].replace(one["id"], other["id"]),
        f"{one['id']}.{plain['signature']}",
        one["signature"].partition(".")[2],
        one["signature"].upper(),
    ]
    for signature in forged:
        headers = {**headers_of(one), "URL-Signature": signature}
        assert await status(house.stranger, "GET", MESSAGES, headers=headers) == 404


@pytest.mark.parametrize(
    "body",
    [
        {"uses": 0},
        {"uses": "5"},
        {"uses": True},
        {"uses": 10**12},
        {"max_body": 0},
        {"max_body": 262_145},
        {"max_batch": -1},
        {"networks": ["nowhere"]},
        {"networks": ["192.0.2.1/24"]},
        {"networks": "192.0.2.0/24"},
        {"networks": ["192.0.2.0/24"] * 33},
        {"note": "x" * 257},
        {"note": 1},
        {"colour": "red"},
        b"",
    ],
)
async def test_what_makes_no_sense_is_refused(house: House, body: object) -> None:
    assert await status(house.member, "POST", f"{ORDERS}/grants", body) == 400


async def test_one_made_by_a_key_that_is_former_is_still_kept() -> None:
    house = House()
    made = await house.grant()
    after = build_core(
        store=house.store,
        clock=house.clock,
        sharing=SharingRules(signer=Signer("a-key-that-is-new", KEY)),
    )
    nobody = AsgiDriver(build_app(after, NoAuthentication()), {})
    assert await status(nobody, "GET", made["urls"][0]) == 200
    assert made["project"] == PROJECT


async def test_a_connection_that_lasts_can_ask_whether_it_still_may(house: House) -> None:
    made = await house.grant()
    desk = house.core.desk
    verified = await _looked_up(house, made)
    assert verified.grant is not None
    assert await desk.is_still_good(PROJECT, verified.grant)
    await house.member.delete(f"{ORDERS}/grants/{made['id']}")
    assert not await desk.is_still_good(PROJECT, verified.grant)


async def _looked_up(house: House, made: dict[str, Any]) -> Any:
    from nuska.transport.wire.signing import terms_in_query

    terms = terms_in_query(made["urls"][0].partition("?")[2])
    admitted = house.core.desk.look_at(terms, method="GET", path=MESSAGES)
    assert admitted is not None
    return await house.core.desk.look_up(admitted, source=None)
