"""Every action, every credential: who is let in on a WebSocket, and how the others are refused.

The table of actions is walked, and each action must have a row here; what it asks of a caller is
what its twin on HTTP asks, which another test holds. An action is let in when it reaches its
handler, whatever that says of it.
"""

import asyncio
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest

from nuska.core import build_core
from nuska.core.sharing import Narrowing, ShareTerms
from nuska.domain.signing import SignedTerms
from nuska.interfaces.identity import Caller
from nuska.stores.memory import MemoryStore
from nuska.testing.callers import (
    CLIENT,
    FAR,
    OTHER,
    PROJECT,
    READ,
    WRITE,
    People,
    roles_that_may,
)
from nuska.testing.clock import seeded_bytes
from nuska.testing.sessions import Conversation
from nuska.transport.websocket.actions.rows import Action
from nuska.transport.websocket.actions.table import ACTIONS
from nuska.transport.websocket.service import WebSocketService

SHOWS = "shows who one is"
GET, POST, DELETE = "GET", "POST", "DELETE"
METHODS = (GET, POST, "PUT", "PATCH", DELETE, "FOO")

EXPECTED: dict[str, tuple[str, str | None]] = {
    # What a caller needs, and which method a signature for the queue's messages must name.
    "authenticate": (SHOWS, None),
    "get_home_doc": (READ, None),  # here and below: those that only HTTP has, which is told to
    "check_node_health": (READ, None),  # everybody who is known
    "ping_node": (READ, None),
    "pool_create": (READ, None),
    "pool_list": (READ, None),
    "pool_get": (READ, None),
    "pool_update": (READ, None),
    "pool_delete": (READ, None),
    "flavor_create": (READ, None),
    "flavor_list": (READ, None),
    "flavor_get": (READ, None),
    "flavor_update": (READ, None),
    "flavor_delete": (READ, None),
    "queue_list": (READ, None),
    "queue_create": (WRITE, None),
    "queue_get": (READ, None),
    "queue_get_stats": (READ, None),
    "queue_delete": (WRITE, None),
    "queue_purge": (WRITE, None),
    "message_post": (WRITE, POST),
    "message_list": (READ, GET),
    "message_get": (READ, GET),
    "message_get_many": (READ, GET),
    "message_delete": (WRITE, DELETE),
    "message_delete_many": (WRITE, DELETE),
    "claim_create": (WRITE, None),
    "claim_get": (READ, None),
    "claim_update": (WRITE, None),
    "claim_delete": (WRITE, None),
    "subscription_create": (WRITE, None),
    "subscription_list": (READ, None),
    "subscription_get": (READ, None),
    "subscription_delete": (WRITE, None),
}

REQUIRED: dict[str, object] = {
    "queue_name": "jobs",
    "messages": [{"body": 1}],
    "message_id": "024bb9c3800000d862c2e36b0a42f782",
    "message_ids": ["024bb9c3800000d862c2e36b0a42f782"],
    "claim_id": "024bb9c3800000d862c2e36b",
    "subscription_id": "024bb9c3800000d862c2e36b",
}
WAYS: dict[str, list[dict[str, object]]] = {
    # Where one action does several things.
    "message_delete_many": [{"pop": 1}, {"message_ids": REQUIRED["message_ids"]}],
    "subscription_create": [
        {"queue_name": "jobs"},
        {"queue_names": ["jobs"]},
        {"queue_names": ["jobs", "other"]},
        {"topic_name": "jobs"},
        {"queue_name": "jobs", "subscriber": "https://hooks.example/in"},
    ],
}

LOOKS_AT_MOST = 5
"""Two seconds apart, until a revoked key has ended its connections."""
NOBODY = "Not authentified."
SOMEBODY_ELSE = "Not authenticated."
NOT_ALLOWED = "Not authorized"

ASKING = [
    pytest.param(action, body, id=" ".join([action.name, *map(str, chain(*way.items()))]))
    for action in ACTIONS.values()
    if EXPECTED.get(action.name, ("", None))[0] != SHOWS
    for way in WAYS.get(action.name, [{}])
    for body in [
        {field.name: REQUIRED[field.name] for field in action.fields if field.required} | way
    ]
]
every_way = pytest.mark.parametrize(("action", "body"), ASKING)
Body = dict[str, object]


class Town(People):
    """A service that asks who is calling, without the sockets."""

    def __init__(self) -> None:
        super().__init__()
        self.core = build_core(
            store=MemoryStore(now=self.clock.now(), random_bytes=seeded_bytes(1)),
            clock=self.clock,
            random_bytes=seeded_bytes(2),
            sharing=self.sharing,
        )
        self.service = WebSocketService(self.core, self.identity, random_bytes=seeded_bytes(3))

    def connect(self, source: str = "127.0.0.1") -> "Connection":
        return Connection(self.service, source)


class Connection(Conversation):
    def __init__(self, service: WebSocketService, source: str) -> None:
        super().__init__(service, {"Client-ID": CLIENT, "X-Project-ID": PROJECT}, source)

    async def say(self, name: str, body: Body, headers: dict[str, Any]) -> tuple[int, Any]:
        """Status and body of the reply."""
        return await self.ask(
            name, body, {key.replace("_", "-"): value for key, value in headers.items()}
        )

    async def shows(self, **headers: Any) -> int:
        """The status of an ``authenticate`` with these headers."""
        status, answered = await self.say("authenticate", {}, headers)
        assert answered == ({"message": "Authentified."} if status == 200 else FAILED)
        return status

    async def refusal(self, action: Action, body: Body, **headers: Any) -> str | None:
        """None for a request that reached its handler, else how it was refused."""
        status, answered = await self.say(action.name, body, headers)
        assert status != 500, answered
        if status != 403:
            assert status < 400 or status in (400, 404, 409, 501), answered
            return None
        said = answered.get("title") or answered["error"]
        return said if said in (NOBODY, SOMEBODY_ELSE, NOT_ALLOWED) else None


FAILED = {"error": "Authentication failed."}


@pytest.fixture
async def town() -> Any:
    made = Town()
    yield made
    await made.core.live.stop()
    made.core.wakeups.stop()


async def refusal(
    town: Town, action: Action, body: Body, shown: dict[str, Any], **headers: Any
) -> str | None:
    """On a connection of its own, on which ``shown`` was shown first."""
    connection = town.connect()
    assert await connection.shows(**shown) == 200, shown
    found = await connection.refusal(action, body, **headers)
    connection.leave()
    return found


def expected(action: Action) -> tuple[str, str | None]:
    assert action.name in EXPECTED, f"{action.name} has no row here: say who may do it"
    return EXPECTED[action.name]


def test_every_action_has_a_row_and_every_row_is_about_one() -> None:
    assert EXPECTED.keys() == ACTIONS.keys()
    assert [name for name, (needs, _) in EXPECTED.items() if needs is SHOWS] == ["authenticate"]
    for name, (_, method) in EXPECTED.items():
        assert ACTIONS[name].signed_method == method, name


@every_way
async def test_who_shows_nothing_or_nothing_good_is_refused(
    town: Town, action: Action, body: Body
) -> None:
    expired, revoked, good = await town.key(ttl=60), await town.revoked_key(), await town.key()
    town.clock.advance(seconds=61)
    nothing_good: list[dict[str, Any]] = [
        {},
        {"X_Auth_Token": "wrong"},
        {"X_Auth_Token": ""},
        {"X_Auth_Token": None},
        {"X_Auth_Token": [f"{PROJECT}/admin"]},
        {"X_Auth_Token": f" {PROJECT}/admin"},
        {"x_auth_token": f"{PROJECT}/admin"},
        {"X_Auth_Token": f"{PROJECT}/admin", "X_Api_Key": good},
        {"X_Auth_Token": expired},
        {"X_Auth_Token": revoked},
        {"X_Api_Key": expired},
        {"X_Api_Key": revoked},
        {"X_Api_Key": f"{PROJECT}/admin"},
        {"X_Api_Key": good[:-1]},
        *({"X_Auth_Token": bad} for bad in town.bad_jwts().values()),
        # Good ones, of another project than is said.
        {"X_Auth_Token": f"{OTHER}/admin"},
        {"X_Auth_Token": town.jwt("admin", OTHER)},
        {"X_Api_Key": await town.key(OTHER, roles=("admin",))},
        {"X_Auth_Token": f"{PROJECT}/admin", "X_Project_ID": OTHER},
        {"X_Auth_Token": f"{PROJECT}/admin", "X_Project_ID": ""},
        # What a client says of itself counts for nothing.
        {"X_Roles": "admin", "X_Identity_Status": "Confirmed", "X_User_Id": "root"},
        {"X_Is_Admin_Project": "True", "X_Service_Roles": "admin"},
    ]
    for shown in nothing_good:
        connection = town.connect()
        assert await connection.refusal(action, body, **shown) == NOBODY, shown
        assert await connection.shows(**shown) == 401, shown
        assert await connection.refusal(action, body) == NOBODY, shown
        assert await connection.refusal(action, body, **shown) == NOBODY, shown
        connection.leave()


@every_way
async def test_a_credential_counts_where_it_was_shown_and_not_with_a_request(
    town: Town, action: Action, body: Body
) -> None:
    good = {"X_Auth_Token": f"{PROJECT}/admin"}
    connection, other = town.connect(), town.connect()
    assert await connection.shows(**good) == 200
    assert await other.refusal(action, body, **good) == NOBODY
    assert await other.refusal(action, body, Authorization=f"Bearer {PROJECT}/admin") == NOBODY
    connection.leave()
    other.leave()


@every_way
async def test_a_failed_attempt_takes_nothing_away_from_who_was_shown_before(
    town: Town, action: Action, body: Body
) -> None:
    connection = town.connect()
    assert await connection.shows(X_Auth_Token=f"{PROJECT}/reader") == 200
    assert await connection.shows(X_Auth_Token="wrong") == 401
    may = roles_that_may(expected(action)[0])["reader"]
    assert await connection.refusal(action, body) == (None if may else NOT_ALLOWED)
    connection.leave()


@every_way
async def test_nobody_speaks_for_another_project_than_was_shown(
    town: Town, action: Action, body: Body
) -> None:
    for shown in (
        {"X_Auth_Token": f"{PROJECT}/admin"},
        {"X_Auth_Token": town.jwt("admin")},
        {"X_Api_Key": await town.key(roles=("admin",))},
    ):
        for named in (OTHER, "", PROJECT.upper(), f"{PROJECT} ", f"{PROJECT},{OTHER}"):
            found = await refusal(town, action, body, shown, X_Project_ID=named)
            assert found == SOMEBODY_ELSE, named


@every_way
async def test_each_role_may_do_what_the_table_says(town: Town, action: Action, body: Body) -> None:
    for roles, may in roles_that_may(expected(action)[0]).items():
        shown = [{"X_Auth_Token": f"{PROJECT}/{roles}"}, {"X_Auth_Token": town.jwt(roles)}]
        if roles in ("reader", "member", "admin"):
            key = await town.key(roles=(roles,))
            shown += [{"X_Api_Key": key}, {"X_Auth_Token": key}]
        for one in shown:
            for claimed in ({}, {"X_Roles": "admin", "X_Service_Roles": "admin"}):
                found = await refusal(town, action, body, one, **claimed)
                assert found == (None if may else NOT_ALLOWED), (roles, one.keys())


@every_way
async def test_a_key_is_good_for_its_queues_and_actions(
    town: Town, action: Action, body: Body
) -> None:
    about_the_queue = body.get("queue_name") == "jobs" or body.get("queue_names") == ["jobs"]
    about_the_topic = body.get("topic_name") == "jobs"
    about_nothing = action.permission is None
    for draft, may in (
        ({"queues": ("jobs",)}, about_the_queue),
        ({"queues": ("other",)}, False),
        ({"topics": ("jobs",)}, about_the_topic),
        ({"actions": ("messages:get_all",)}, action.permission == "messages:get_all"),
    ):
        shown = {"X_Api_Key": await town.key(roles=("admin",), **draft)}
        found = await refusal(town, action, body, shown)
        assert found == (None if may or about_nothing else NOT_ALLOWED), draft


@every_way
async def test_what_has_expired_or_was_revoked_since_is_good_no_longer(
    town: Town, action: Action, body: Body
) -> None:
    for kind in ("key", "JWT"):
        shown = (
            {"X_Api_Key": await town.key(roles=("admin",), ttl=60)}
            if kind == "key"
            else {"X_Auth_Token": town.jwt("admin", exp=town.clock.now() // 1000 + 60)}
        )
        connection = town.connect()
        assert await connection.shows(**shown) == 200
        assert await connection.refusal(action, body) is None
        town.clock.advance(seconds=61)
        assert await connection.refusal(action, body) == NOBODY
        connection.session.tick()
        assert connection.closed == [(4003, "Authentication expired.")]
        connection.leave()
    key = await town.key(roles=("admin",))
    connection = town.connect()
    assert await connection.shows(X_Api_Key=key) == 200
    await town.keys.revoke(Caller(PROJECT, frozenset({"admin"})), key.split("_")[1])
    for _ in range(LOOKS_AT_MOST):
        town.clock.advance(seconds=2)
        connection.session.tick()
        await asyncio.sleep(0)  # the store is asked beside it
    assert connection.closed[:1] == [(4003, "Authentication expired.")]
    connection.leave()


def shown(terms: SignedTerms, **changed: Any) -> dict[str, Any]:
    """As python-zaqarclient sends a signature on a WebSocket."""
    return {
        "URL_Signature": terms.signature,
        "URL_Expires": terms.expires,
        "URL_Methods": list(terms.methods),
        "URL_Paths": list(terms.paths),
        "X_Project_ID": terms.project,
        **changed,
    }


def near_misses(town: Town, method: str) -> Iterator[dict[str, Any]]:
    """Signatures that are good for something else, or for nothing."""
    own = "/v2/queues/jobs/messages"
    good = town.signed(own, method)
    for path in (
        "/v2/queues/other/messages",
        "/v2/queues/jobs",
        "/v2/queues/jobs/claims",
        "/v2/queues/jobs/subscriptions",
        "/v2/topics/jobs/messages",
        "/v2/queues/job",
        f"{own}/024bb9c3800000d862c2e36b0a42f782",
    ):
        yield shown(town.signed(path, method))
    yield shown(town.signed(own, *(other for other in METHODS if other != method)))
    yield shown(town.signed(own, method, until=town.clock.now()))
    yield shown(good, X_Project_ID=OTHER)
    yield shown(good, X_Project_ID="")
    for part, others in {
        "URL_Signature": ("", "0" * 64, good.signature.upper(), None, [good.signature], 5),
        "URL_Expires": ("2099-01-01T00:00:00", f"{good.expires}Z", None, [good.expires]),
        "URL_Methods": (method, [], [method, "FOO"], [method.lower()], [[method]], None),
        "URL_Paths": (own, [], [own, "/v2"], [f"{own}/"], [[own]], None),
    }.items():
        for other in others:
            yield shown(good, **{part: other})


@every_way
async def test_a_signature_opens_the_messages_of_its_queue_by_its_methods(
    town: Town, action: Action, body: Body
) -> None:
    method = expected(action)[1]
    stranger, member = town.connect(), town.connect()
    assert await member.shows(X_Auth_Token=f"{PROJECT}/admin") == 200
    for connection in (stranger, member):  # who was shown before changes nothing
        for signed in METHODS:
            good = shown(town.signed("/v2/queues/jobs/messages", signed))
            found = await connection.refusal(action, body, **good)
            assert found == (None if signed == method else NOBODY), signed
            assert await connection.refusal(action, body, **good, X_Roles="admin") == found
        for near in near_misses(town, method or GET):
            assert await connection.refusal(action, body, **near) == NOBODY, near
    assert await stranger.refusal(action, body) == NOBODY, "a signature is good for its request"
    stranger.leave()
    member.leave()


@every_way
async def test_one_that_is_kept_is_good_until_it_is_revoked_or_used_up_and_from_its_networks(
    town: Town, action: Action, body: Body
) -> None:
    method = expected(action)[1]
    maker = Caller(PROJECT, frozenset({"member"}))
    terms = ShareTerms(paths=("messages",), methods=(method or GET,), expires_at=FAR)
    from_home, from_afar = town.connect("10.1.2.3"), town.connect("192.0.2.1")
    for narrowing in (Narrowing(), Narrowing(networks=("10.0.0.0/8",))):
        grant, signed = await town.core.sharing.create(maker, "jobs", terms, narrowing)
        good = None if method else NOBODY
        assert await from_home.refusal(action, body, **shown(signed)) == good
        far = NOBODY if narrowing.networks else good
        assert await from_afar.refusal(action, body, **shown(signed)) == far
        await town.core.sharing.revoke(maker, "jobs", grant.id)
        assert await from_home.refusal(action, body, **shown(signed)) == NOBODY
    _, once = await town.core.sharing.create(maker, "jobs", terms, Narrowing(uses=1))
    assert await from_home.refusal(action, body, **shown(once)) == good
    assert await from_home.refusal(action, body, **shown(once)) == NOBODY
    from_home.leave()
    from_afar.leave()
