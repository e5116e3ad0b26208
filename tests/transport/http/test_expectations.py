"""Every route, every method, every credential: who is let in, and how the others are refused.

The table of routes is walked, and each operation must have a row here: what a new route asks
for is decided by whoever writes it down, not by what it happens to do. A request is let in when
it reaches its handler, whatever that says of it.
"""

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Any

import pytest

from nuska.core import Core
from nuska.domain.signing import SignedTerms
from nuska.testing.asgi import AsgiDriver, Reply
from nuska.testing.callers import (
    ANYBODY,
    CHALLENGE,
    CLIENT,
    OPERATE,
    OTHER,
    PROJECT,
    READ,
    WRITE,
    People,
    roles_that_may,
)
from nuska.transport.http import build_app
from nuska.transport.http.app import all_routes
from nuska.transport.http.routes import Admits, Operation, Route

from .conftest import Pooled
from .signed import as_shared, headers_of, query_of

FIELDS = {
    "queue_name": "jobs",
    "topic_name": "jobs",
    "message_id": "024bb9c3800000d862c2e36b0a42f782",
    "claim_id": "024bb9c3800000d862c2e36b",
    "subscriptions_id": "024bb9c3800000d862c2e36b",
    "grant_id": "024bb9c3800000d862c2e36b",
    "key_id": "024bb9c3800000d8",
    "project_id": PROJECT,
    "pool_name": "p",
    "flavor_name": "f",
}

GET, POST, PATCH, PUT, DELETE = "GET", "POST", "PATCH", "PUT", "DELETE"
MESSAGES, CLAIMS, SUBSCRIPTIONS = "messages", "claims", "subscriptions"

EXPECTED: dict[str, tuple[str, str | None]] = {
    # What a caller needs, and below which path a signature with the operation's method will do.
    "getVersions": (ANYBODY, None),
    "getVersion": (ANYBODY, None),
    "getHome": (READ, None),
    "getOpenapi": (ANYBODY, None),
    "ping": (ANYBODY, None),
    "pingQuietly": (ANYBODY, None),
    "showConfirmation": (ANYBODY, None),
    "answerConfirmation": (ANYBODY, None),
    "listQueues": (READ, None),
    "getQueue": (READ, None),
    "createQueue": (WRITE, None),
    "deleteQueue": (WRITE, None),
    "updateQueue": (WRITE, None),
    "queueExists": (READ, None),
    "getStats": (READ, None),
    "shareQueue": (WRITE, None),
    "createGrant": (WRITE, None),
    "listGrants": (WRITE, None),
    "listGrantsOfQueue": (WRITE, None),
    "getGrant": (WRITE, None),
    "revokeGrant": (WRITE, None),
    "purgeQueue": (WRITE, None),
    "postMessages": (WRITE, MESSAGES),
    "listMessages": (READ, MESSAGES),
    "deleteMessages": (WRITE, MESSAGES),
    "getMessage": (READ, MESSAGES),
    "deleteMessage": (WRITE, MESSAGES),
    "streamMessages": (READ, MESSAGES),
    "createClaim": (WRITE, CLAIMS),
    "getClaim": (READ, CLAIMS),
    "renewClaim": (WRITE, CLAIMS),
    "releaseClaim": (WRITE, CLAIMS),
    "listSubscriptions": (READ, SUBSCRIPTIONS),
    "createSubscription": (WRITE, SUBSCRIPTIONS),
    "getSubscription": (READ, SUBSCRIPTIONS),
    "updateSubscription": (WRITE, SUBSCRIPTIONS),
    "deleteSubscription": (WRITE, SUBSCRIPTIONS),
    "confirmSubscription": (WRITE, SUBSCRIPTIONS),
    "listAttempts": (READ, None),
    "subscriptionStats": (READ, None),
    "testSubscription": (WRITE, None),
    "replaySubscription": (WRITE, None),
    "listDeadLetters": (READ, None),
    "redriveDeadLetters": (WRITE, None),
    "getQuota": (READ, None),
    "putQuota": (OPERATE, None),
    "resetQuota": (OPERATE, None),
    "getHealth": (OPERATE, None),
    "listPools": (OPERATE, None),
    "getPool": (OPERATE, None),
    "putPool": (OPERATE, None),
    "updatePool": (OPERATE, None),
    "deletePool": (OPERATE, None),
    "getDrain": (OPERATE, None),
    "drainPool": (OPERATE, None),
    "getWhereabouts": (OPERATE, None),
    "getMove": (OPERATE, None),
    "moveQueue": (OPERATE, None),
    "listDataKeys": (OPERATE, None),
    "eraseDataKeys": (OPERATE, None),
    "rotateDataKeys": (OPERATE, None),
    "rewrapDataKeys": (OPERATE, None),
    "listFlavors": (READ, None),
    "getFlavor": (READ, None),
    "putFlavor": (OPERATE, None),
    "updateFlavor": (OPERATE, None),
    "deleteFlavor": (OPERATE, None),
    "listKeys": (OPERATE, None),
    "createKey": (OPERATE, None),
    "getKey": (OPERATE, None),
    "revokeKey": (OPERATE, None),
}


def expected(operation: Operation) -> tuple[str, str | None]:
    """The row; operations of topics are those of queues."""
    name = operation.name
    for found in (name, name.removesuffix("OfTopic"), name.replace("Topic", "Queue")):
        if found in EXPECTED:
            return EXPECTED[found]
    raise AssertionError(f"{name} has no row here: say who may do it")


class Town(People):
    """A service with everything switched on, that asks who is calling."""

    def __init__(self) -> None:
        super().__init__()
        pooled = Pooled(self.clock, core={"sharing": self.sharing})
        self.core: Core = pooled.core
        self.routes = all_routes(self.core)
        self.app = build_app(self.core, self.identity)
        self.plain = AsgiDriver(self.app, {"Client-ID": CLIENT})


@pytest.fixture(scope="module")
def town() -> Town:
    return Town()


ROUTES = Town().routes
OPERATIONS = [
    pytest.param(route, operation, id=f"{operation.method} {route.path}")
    for route in ROUTES
    for operation in route.operations
]


def target_of(route: Route) -> str:
    return route.path.format(**FIELDS)


async def let_in(asked: Awaitable[Reply], *, has_body: bool) -> int | None:
    """None for a request that reached its handler, else the status of the refusal."""
    reply = await asked
    assert reply.status != 500, reply.body
    if reply.status == 401:
        assert reply.headers["www-authenticate"] == CHALLENGE
        assert not has_body or set(reply.json()) == {"error"}
        return 401
    if not has_body:
        return reply.status if reply.status >= 400 else None
    if reply.status == 403:
        return 403 if b"not authorized" in reply.body or b"have shown" in reply.body else None
    if reply.status == 404 and b'"404 Not Found"' in reply.body:
        return 404
    return None


async def answer_begun(driver: AsgiDriver, *what: Any, **more: Any) -> Reply:
    """The answer; of one that does not end, its beginning, at which the client hangs up."""
    connection, call = driver.open(*what, **more)
    serving = asyncio.ensure_future(call)
    going_on = asyncio.create_task(connection.going_on.wait())
    await asyncio.wait([serving, going_on], return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        connection.hang_up()
    await serving
    going_on.cancel()
    return connection.reply


async def ask(
    driver: AsgiDriver, route: Route, operation: Operation, *, query: str = "", **headers: str
) -> int | None:
    target = f"{target_of(route)}?{query}" if query else target_of(route)
    body = {} if operation.body is not None else None
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if operation.method == "HEAD" and "{" in route.path:  # an answer without a body to tell by
        member = {"X-Auth-Token": f"{PROJECT}/member", "Client-ID": CLIENT}
        await driver.put(target_of(route), headers=member)
    asked = answer_begun(driver, operation.method, target, body, headers=named)
    return await let_in(asked, has_body=operation.method != "HEAD")


@pytest.mark.parametrize(("route", "operation"), OPERATIONS)
async def test_who_shows_nothing_or_nothing_good_is_let_in_where_anybody_is(
    town: Town, route: Route, operation: Operation
) -> None:
    refused = None if expected(operation)[0] == ANYBODY else 401
    assert (route.admits in (Admits.ANY_REQUEST, Admits.ANYBODY, Admits.PEOPLE)) == (not refused)
    revoked = await town.revoked_key()
    expired = await town.key(ttl=60)
    town.clock.advance(seconds=61)
    for headers in (
        {},
        {"X_Auth_Token": "wrong"},
        {"X_Auth_Token": ""},
        {"X_Auth_Token": f"{PROJECT}/admin", "X_Api_Key": "k"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {PROJECT}/admin"},
        {"X_Api_Key": expired},
        {"X_Api_Key": revoked},
        {"X_Auth_Token": revoked},
        {"X_Api_Key": f"{PROJECT}/admin"},
        # What a client says of itself counts for nothing.
        {"X_Project_Id": PROJECT, "X_Roles": "admin", "X_Identity_Status": "Confirmed"},
        {"X_User_Id": "root", "X_Is_Admin_Project": "True", "X_Service_Roles": "admin"},
        *({"X_Auth_Token": bad} for bad in town.bad_jwts().values()),
    ):
        assert await ask(town.plain, route, operation, **headers) == refused, headers


@pytest.mark.parametrize(("route", "operation"), OPERATIONS)
async def test_each_role_may_do_what_the_table_says(
    town: Town, route: Route, operation: Operation
) -> None:
    for roles, may in roles_that_may(expected(operation)[0]).items():
        token = f"{PROJECT}/{roles}"
        for headers in (
            {"X_Auth_Token": token},
            {"Authorization": f"Bearer {token}"},
            {"X_Auth_Token": token, "X_Roles": "admin", "X_Project_Id": OTHER},
            {"X_Auth_Token": town.jwt(roles)},
        ):
            found = await ask(town.plain, route, operation, **headers)
            assert found == (None if may else 403), (roles, headers)


@pytest.mark.parametrize(("route", "operation"), OPERATIONS)
async def test_a_key_is_good_for_its_roles_queues_and_actions(
    town: Town, route: Route, operation: Operation
) -> None:
    needs = expected(operation)[0]
    for roles, may in roles_that_may(needs).items():
        if roles in ("reader", "member", "admin"):
            key = await town.key(roles=(roles,))
            found = await ask(town.plain, route, operation, X_Api_Key=key)
            assert found == (None if may else 403), roles
    about_queue, about_topic = "{queue_name}" in route.path, "{topic_name}" in route.path
    anybody = operation.action is None
    for draft, may in (
        ({"queues": ("jobs",)}, about_queue),
        ({"queues": ("other",)}, False),
        ({"topics": ("jobs",)}, about_topic),
        ({"actions": ("messages:get_all",)}, operation.action == "messages:get_all"),
    ):
        key = await town.key(roles=("admin",), **draft)
        found = await ask(town.plain, route, operation, X_Api_Key=key)
        assert found == (None if may or anybody else 403), draft


@pytest.mark.parametrize(("route", "operation"), OPERATIONS)
async def test_a_signature_opens_its_paths_by_its_methods_until_its_end(
    town: Town, route: Route, operation: Operation
) -> None:
    noun, target = expected(operation)[1], target_of(route)
    if route.admits is Admits.ANY_REQUEST:
        assert await ask(town.plain, route, operation, URL_Signature="") is None
        return
    kind = "topics" if "{topic_name}" in route.path else "queues"
    method, nouns = operation.method, (MESSAGES, CLAIMS, SUBSCRIPTIONS)
    for signed in nouns:
        good = town.signed(f"/v2/{kind}/jobs/{signed}", method)
        opens = signed == noun and target.startswith(good.paths[0])
        for found in await shown(town, route, operation, good):
            assert found == (None if opens else 404), signed
    own = f"/v2/{kind}/jobs/{noun or MESSAGES}"
    others = [other for other in (GET, POST, PATCH, PUT, DELETE, "FOO") if other != method]
    for near in (
        town.signed(own, *others),
        town.signed(f"/v2/{kind}/other/{noun or MESSAGES}", method),
        town.signed(f"/v2/{kind}/jobs", method),
        town.signed(own, method, until=town.clock.now()),
    ):
        for found in await shown(town, route, operation, near):
            assert found == 404, near.paths
    # Made for one project, and shown for another; and one that is bad, beside all that is good.
    good = as_shared(town.signed(own, method))
    for changes in ({"X-Project-Id": OTHER}, {"URL-Signature": "0" * 64}, {"URL-Signature": ""}):
        headers = {**headers_of(good), **changes, "X-Auth-Token": f"{PROJECT}/admin"}
        assert await ask(town.plain, route, operation, **headers) == 404


async def shown(
    town: Town, route: Route, operation: Operation, terms: SignedTerms
) -> Iterator[int | None]:
    """In headers and, where a link can be one, as a link."""
    shared = as_shared(terms)
    found = [await ask(town.plain, route, operation, **headers_of(shared))]
    if "{queue_name}" in route.path or "{topic_name}" in route.path:
        nobody = AsgiDriver(town.app, {})
        found.append(await ask(nobody, route, operation, query=query_of(shared)))
    return iter(found)


@pytest.mark.parametrize(("route", "operation"), OPERATIONS)
async def test_what_is_kept_and_revoked_opens_nothing(
    town: Town, route: Route, operation: Operation
) -> None:
    noun = expected(operation)[1]
    if noun is None or "{queue_name}" not in route.path:
        return
    member = {"X-Auth-Token": f"{PROJECT}/member"}
    body = {"paths": [noun], "methods": [operation.method]}
    made = await town.plain.post("/v2/queues/jobs/grants", body, headers=member)
    assert made.status == 201
    assert await ask(town.plain, route, operation, **headers_of(made.json())) is None
    await town.plain.delete(made.headers["location"], headers=member)
    assert await ask(town.plain, route, operation, **headers_of(made.json())) == 404


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
async def test_methods_that_are_not_there_say_so_only_to_those_who_are_let_in(
    town: Town, route: Route
) -> None:
    is_open = route.admits in (Admits.ANY_REQUEST, Admits.ANYBODY, Admits.PEOPLE)
    there = {operation.method for operation in route.operations}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "REPORT"} - there:
        refused = await town.plain.request(method, target_of(route))
        assert refused.status == (405 if is_open else 401)
        reader = {"X-Auth-Token": f"{PROJECT}/reader"}
        told = await town.plain.request(method, target_of(route), headers=reader)
        assert (told.status, told.headers["allow"]) == (405, route.allow)


async def test_nobody_learns_what_routes_there_are_without_a_credential(town: Town) -> None:
    for target in ("/v2/nowhere", "/v2/queues/jobs/nowhere", "/v3", "/v2/ping/x"):
        assert (await town.plain.get(target)).status == 401
        token = {"X-Auth-Token": f"{PROJECT}/reader"}
        assert (await town.plain.get(target, headers=token)).status == 404


def test_no_row_is_about_an_operation_that_is_not_there() -> None:
    names = {operation.name for route in ROUTES for operation in route.operations}
    allowed = {"streamMessages"}
    assert EXPECTED.keys() - names <= allowed
