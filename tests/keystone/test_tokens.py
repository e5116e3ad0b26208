"""Tokens of a real Keystone: whose they are, when they end, and what happens without Keystone."""

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from nuska.domain.errors import NotAuthenticated, Unavailable
from nuska.domain.moments import seconds
from nuska.identity.keystone.calls import KeystoneCalls
from nuska.identity.keystone.service_token import (
    ApplicationCredential,
    Credentials,
    Password,
    ServiceToken,
)
from nuska.identity.keystone.tokens import KeystoneTokens
from nuska.identity.remembered import Belief, Remembered
from nuska.system import SystemClock
from nuska.testing.clock import seeded_bytes
from nuska.testing.keystone_people import SERVICE_PASSWORD, Person, new_person
from nuska.testing.keystone_server import KeystoneServer

pytestmark = pytest.mark.slow

TOTAL = 20.0
"""Seconds for a question, on a machine that has much else to do."""
SHORT = 1.0
SERVICE = Password(
    user="nuska",
    user_domain="Default",
    password=SERVICE_PASSWORD,
    project="service",
    project_domain="Default",
)
BELIEF = Belief(
    recheck_after=seconds(0), believed_for=seconds(300), refused_for=seconds(0), max_kept=100
)
"""Asks again at every use."""


class Kit:
    def __init__(self, keystone: KeystoneServer, session: aiohttp.ClientSession) -> None:
        self.keystone = keystone
        self.session = session
        self.clock = SystemClock()

    def tokens(self, credentials: Credentials = SERVICE, *, total: float = TOTAL) -> KeystoneTokens:
        calls = KeystoneCalls(self.session, self.keystone.url, total=total)
        return KeystoneTokens(calls, ServiceToken(calls, credentials, self.clock), total=total)

    def remembered(self, tokens: KeystoneTokens) -> Remembered:
        return Remembered(tokens.ask, self.clock, BELIEF, seeded_bytes())


@pytest.fixture
async def kit(keystone: KeystoneServer) -> AsyncIterator[Kit]:
    async with aiohttp.ClientSession() as session:
        yield Kit(keystone, session)


async def test_a_token_says_project_user_and_roles(kit: Kit, ann: Person) -> None:
    found = await kit.tokens().ask(ann.token())
    assert (found.project, found.user) == (ann.project_id, ann.id)
    assert found.roles == {"member", "reader"}
    assert found.expires_at is not None
    assert found.expires_at > kit.clock.now()


async def test_an_application_credential_of_the_service_will_do(kit: Kit, ann: Person) -> None:
    keystone = kit.keystone
    service = keystone.token("nuska", SERVICE_PASSWORD, "service")
    answer = keystone.call("GET", "/auth/tokens", token=service, X_Subject_Token=service)
    user = answer.document["token"]["user"]["id"]
    id_, secret = keystone.application_credential(user, service, f"for-{ann.name}")
    tokens = kit.tokens(ApplicationCredential(id=id_, secret=secret))
    assert (await tokens.ask(ann.token())).project == ann.project_id


@pytest.mark.parametrize("token", ["", "x", "gAAAAAB" + "x" * 176, "a\nb", "é", "x" * 9000, "../x"])
async def test_what_is_no_token_is_refused(kit: Kit, token: str) -> None:
    with pytest.raises(NotAuthenticated):
        await kit.tokens().ask(token)


async def test_a_token_for_no_project_is_refused(kit: Kit, ann: Person) -> None:
    user = {"id": ann.id, "password": ann.password}
    identity = {"methods": ["password"], "password": {"user": user}}
    unscoped = kit.keystone.token_by({"identity": identity, "scope": "unscoped"})
    with pytest.raises(NotAuthenticated):
        await kit.tokens().ask(unscoped)


async def test_a_revoked_token_is_refused(kit: Kit, ann: Person) -> None:
    tokens, token = kit.tokens(), ann.token()
    await tokens.ask(token)
    kit.keystone.revoke(token)
    with pytest.raises(NotAuthenticated):
        await tokens.ask(token)


async def test_a_token_ends_when_its_owner_loses_his_roles(kit: Kit, ann: Person) -> None:
    tokens, token = kit.tokens(), ann.token()
    await tokens.ask(token)
    kit.keystone.unassign(ann.id, ann.project_id, "member")
    with pytest.raises(NotAuthenticated):
        await tokens.ask(token)


async def test_a_token_ends_when_it_expires(kit: Kit, ann: Person) -> None:
    kit.keystone.expiration = 4
    kit.keystone.restart()
    remembered = kit.remembered(kit.tokens())
    token = ann.token()
    found = await remembered.verify(token)
    assert found.expires_at is not None
    while kit.clock.now() < found.expires_at:
        assert remembered.cached(token) is not None or kit.clock.now() >= found.expires_at
        await asyncio.sleep(0.1)
    assert remembered.cached(token) is None
    with pytest.raises(NotAuthenticated):
        await remembered.verify(token)
    await remembered.close()


async def test_the_service_logs_in_again_when_its_own_token_is_revoked(
    kit: Kit, ann: Person
) -> None:
    calls = KeystoneCalls(kit.session, kit.keystone.url, total=TOTAL)
    service = ServiceToken(calls, SERVICE, kit.clock)
    tokens = KeystoneTokens(calls, service, total=TOTAL)
    await tokens.ask(ann.token())
    kit.keystone.revoke((await service.get()).token)
    assert (await tokens.ask(ann.token())).user == ann.id


async def test_a_service_whose_password_is_wrong_lets_nobody_in_and_does_not_keep_trying(
    kit: Kit, ann: Person, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = Password(
        user="nuska",
        user_domain="Default",
        password="wrong-password-0815",
        project="service",
        project_domain="Default",
    )
    tokens, token = kit.tokens(wrong), ann.token()
    for _ in range(5):
        with pytest.raises(Unavailable):
            await tokens.ask(token)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "wrong-password-0815" not in caplog.text
    assert token not in caplog.text


async def test_a_service_that_may_not_validate_lets_nobody_in(kit: Kit, ann: Person) -> None:
    bob = new_person(kit.keystone, "member")
    tokens = kit.tokens(
        Password(
            user=bob.name,
            user_domain="Default",
            password=bob.password,
            project=bob.project,
            project_domain="Default",
        )
    )
    with pytest.raises(Unavailable):
        await tokens.ask(ann.token())


async def test_without_keystone_known_tokens_go_on_and_others_wait_for_it(
    kit: Kit, ann: Person
) -> None:
    remembered = kit.remembered(kit.tokens())
    known, unknown = ann.token(), ann.token()
    await remembered.verify(known)
    kit.keystone.kill()
    assert remembered.cached(known) is not None
    with pytest.raises(Unavailable):
        await remembered.verify(unknown)
    assert remembered.cached(known) is not None
    kit.keystone.start()
    assert (await remembered.verify(unknown)).user == ann.id
    await remembered.close()


async def test_a_keystone_that_hangs_holds_up_nobody_whose_token_is_known(
    kit: Kit, ann: Person
) -> None:
    known = ann.token()
    others = [ann.token() for _ in range(3)]
    patient, hasty = kit.tokens(), kit.tokens(total=SHORT)
    asked = [patient]
    remembered = Remembered(lambda token: asked[-1].ask(token), kit.clock, BELIEF, seeded_bytes())
    await remembered.verify(known)
    asked.append(hasty)
    kit.keystone.pause()
    began = time.monotonic()
    waiting = [asyncio.create_task(remembered.verify(token)) for token in others]
    await asyncio.sleep(0)
    for _ in range(1000):
        assert remembered.cached(known) is not None
    assert not any(task.done() for task in waiting)
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable] * len(others)
    assert time.monotonic() - began < TOTAL
    await remembered.close()
