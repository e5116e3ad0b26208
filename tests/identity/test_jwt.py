"""Tokens of an issuer: what makes one good, every way in which one can be bad, and rotation."""

import base64
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
from joserfc.jwk import OKPKey
from msgspec.structs import replace

from nuska.domain.errors import NotAuthenticated, Unavailable
from nuska.domain.moments import Moment, seconds
from nuska.identity.jwt.issuer_keys import IssuerKeys, usable_keys
from nuska.identity.jwt.tokens import ClaimRules, JwtTokens
from nuska.testing.clock import START, ManualClock
from nuska.testing.issuer import Issuer, publishing

NOW = START // 1000
AUDIENCE = "https://mq.example.net"


@pytest.fixture(scope="module")
def keys_made() -> Issuer:
    """RSA keys take a while to make."""
    return Issuer()


@pytest.fixture
async def issuer(keys_made: Issuer) -> AsyncIterator[Issuer]:
    fresh = Issuer.__new__(Issuer)
    fresh.url, fresh.published, fresh.status, fresh.fetched = "", [], 200, 0
    fresh.rsa = keys_made.rsa
    fresh.publish(fresh.rsa)
    async with publishing(fresh):
        yield fresh


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


class Set:
    """Tokens of one issuer, as a server would verify them."""

    def __init__(self, issuer: Issuer, clock: ManualClock, session: aiohttp.ClientSession) -> None:
        self.changes = 0
        self.rules = ClaimRules(
            issuer=issuer.url,
            audiences=(AUDIENCE, "mq"),
            algorithms=("RS256", "ES256", "EdDSA"),
            project="project_id",
            roles="realm_access.roles",
            user="sub",
            role_map={},
            leeway=30,
        )
        self.clock = clock
        self.keys = IssuerKeys(
            session,
            clock,
            issuer=issuer.url,
            url="",
            refresh=seconds(600),
            changed=self._changed,
        )

    def _changed(self) -> None:
        self.changes += 1

    async def ask(self, token: str, **rules: Any) -> Any:
        return await JwtTokens(self.keys, self.clock, replace(self.rules, **rules)).ask(token)


@pytest.fixture
async def tokens(issuer: Issuer, clock: ManualClock) -> AsyncIterator[Set]:
    async with aiohttp.ClientSession() as session:
        made = Set(issuer, clock, session)
        yield made
        await made.keys.close()


def claims(issuer: Issuer, **others: Any) -> dict[str, Any]:
    found = {
        "iss": issuer.url,
        "aud": AUDIENCE,
        "sub": "ann",
        "exp": NOW + 300,
        "project_id": "shop",
        "realm_access": {"roles": ["Member", "admin"]},
        **others,
    }
    return {name: value for name, value in found.items() if value is not None}


async def refused(tokens: Set, token: str, **rules: Any) -> None:
    with pytest.raises(NotAuthenticated) as caught:
        await tokens.ask(token, **rules)
    assert token not in str(caught.value)


async def test_a_good_token_says_who_calls(tokens: Set, issuer: Issuer) -> None:
    found = await tokens.ask(issuer.token(claims(issuer)))
    assert (found.project, found.user) == ("shop", "ann")
    assert found.roles == {"member", "admin"}
    assert found.expires_at == Moment((NOW + 330) * 1000)


@pytest.mark.parametrize(
    "others",
    [
        {"iss": "https://login.example.net"},
        {"iss": None},
        {"iss": ["https://login.example.net"]},
        {"aud": "https://other.example.net"},
        {"aud": None},
        {"aud": []},
        {"exp": None},
        {"exp": NOW - 31},
        {"exp": "soon"},
        {"exp": True},
        {"nbf": NOW + 31},
        {"iat": NOW + 31},
        {"project_id": None},
        {"project_id": ""},
        {"project_id": ["shop"]},
        {"project_id": 7},
        {"project_id": "s" * 257},
    ],
)
async def test_a_token_with_a_wrong_claim_is_refused(
    tokens: Set, issuer: Issuer, others: Mapping[str, Any]
) -> None:
    await refused(tokens, issuer.token(claims(issuer, **others)))


@pytest.mark.parametrize(
    "others",
    [
        {"exp": NOW - 29},
        {"nbf": NOW + 29},
        {"iat": NOW + 29},
        {"aud": ["other", "mq"]},
    ],
)
async def test_clocks_may_differ_and_there_may_be_several_audiences(
    tokens: Set, issuer: Issuer, others: Mapping[str, Any]
) -> None:
    assert (await tokens.ask(issuer.token(claims(issuer, **others)))).project == "shop"


async def test_a_token_may_not_choose_how_it_is_checked(tokens: Set, issuer: Issuer) -> None:
    """``none``, and a public key taken for a shared secret."""
    body = _part(claims(issuer))
    for algorithm in ("none", "None", "HS256"):
        await refused(tokens, f"{_part({'alg': algorithm, 'kid': 'rsa-1'})}.{body}.")
    for public in (issuer.rsa.as_pem(private=False), issuer.rsa.as_der(private=False)):
        signed = f"{_part({'alg': 'HS256', 'kid': 'rsa-1'})}.{body}"
        mac = hmac.new(public, signed.encode(), "sha256").digest()
        await refused(tokens, f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")


async def test_an_algorithm_that_is_not_listed_is_refused(tokens: Set, issuer: Issuer) -> None:
    token = issuer.token(claims(issuer), algorithm="RS512")
    await refused(tokens, token)
    assert (await tokens.ask(token, algorithms=("RS512",))).project == "shop"


async def test_the_listed_kinds_of_keys_verify(tokens: Set, issuer: Issuer) -> None:
    ec = issuer.new_ec("ec-1")
    okp = OKPKey.generate_key("Ed25519", {"kid": "ed-1", "use": "sig"}, private=True)
    issuer.publish(okp)
    assert (await tokens.ask(issuer.token(claims(issuer), ec, "ES256"))).user == "ann"
    assert (await tokens.ask(issuer.token(claims(issuer), okp, "EdDSA"))).user == "ann"


async def test_a_key_of_another_is_refused_whatever_it_is_called(
    tokens: Set, issuer: Issuer
) -> None:
    stranger = Issuer()
    await refused(tokens, issuer.token(claims(issuer), stranger.rsa, kid="rsa-1"))
    jwk = stranger.rsa.as_dict(private=False)
    for header in ({"jwk": jwk}, {"jku": "https://evil.example/keys"}):
        await refused(tokens, issuer.token(claims(issuer), stranger.rsa, **header))


@pytest.mark.parametrize("change", ["payload", "signature", "cut", "extra"])
async def test_a_token_that_was_changed_is_refused(
    tokens: Set, issuer: Issuer, change: str
) -> None:
    head, body, signature = issuer.token(claims(issuer)).split(".")
    changed = {
        "payload": f"{head}.{_part(claims(issuer, project_id='bank'))}.{signature}",
        "signature": f"{head}.{body}.{'A' * len(signature)}",
        "cut": f"{head}.{body}",
        "extra": f"{head}.{body}.{signature}.x",
    }[change]
    await refused(tokens, changed)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "..",
        "a.b.c",
        "é.é.é",
        "x" * 20_000,
        f"{'e30.' * 100}",
        "W10.W10.W10",
        "\x00.\x00.\x00",
    ],
)
async def test_what_is_no_token_is_refused(tokens: Set, text: str) -> None:
    with pytest.raises(NotAuthenticated):
        await tokens.ask(text)


async def test_another_kind_of_token_is_refused(tokens: Set, issuer: Issuer) -> None:
    await refused(tokens, issuer.token(claims(issuer), typ="dpop+jwt"))
    assert (await tokens.ask(issuer.token(claims(issuer), typ="at+jwt"))).user == "ann"


async def test_what_must_be_understood_and_is_not_is_refused(tokens: Set, issuer: Issuer) -> None:
    head = _part({"alg": "RS256", "kid": "rsa-1", "crit": ["exp"], "exp": 1})
    await refused(tokens, f"{head}.{_part(claims(issuer))}.AAAA")


async def test_roles_can_be_called_otherwise_and_then_only_those_mean_something(
    tokens: Set, issuer: Issuer
) -> None:
    token = issuer.token(claims(issuer, scope="mq.admin mq.read openid", realm_access=None))
    found = await tokens.ask(token, roles="scope", role_map={"mq.admin": "Admin"})
    assert found.roles == {"admin"}
    found = await tokens.ask(token, roles="scope")
    assert found.roles == {"mq.admin", "mq.read", "openid"}
    assert (await tokens.ask(token, roles="nothing.there")).roles == frozenset()


async def test_a_claim_of_the_very_name_wins_over_a_path(tokens: Set, issuer: Issuer) -> None:
    name = "https://example.net/project.id"
    token = issuer.token(claims(issuer, **{name: "bank"}))
    assert (await tokens.ask(token, project=name)).project == "bank"


class TestRotation:
    async def test_keys_are_fetched_once_for_many_tokens(self, tokens: Set, issuer: Issuer) -> None:
        for number in range(5):
            await tokens.ask(issuer.token(claims(issuer, sub=str(number))))
        assert issuer.fetched == 1

    async def test_a_new_key_is_good_as_soon_as_a_token_names_it(
        self, tokens: Set, issuer: Issuer, clock: ManualClock
    ) -> None:
        await tokens.ask(issuer.token(claims(issuer)))
        clock.advance(seconds=10)
        ec = issuer.new_ec("ec-2")
        assert (await tokens.ask(issuer.token(claims(issuer), ec, "ES256"))).user == "ann"
        assert issuer.fetched == 2
        assert tokens.changes == 2

    async def test_tokens_that_name_unknown_keys_cost_the_issuer_little(
        self, tokens: Set, issuer: Issuer, clock: ManualClock
    ) -> None:
        for number in range(50):
            await refused(tokens, issuer.token(claims(issuer), kid=f"made-up-{number}"))
        assert issuer.fetched == 1
        clock.advance(seconds=10)
        await refused(tokens, issuer.token(claims(issuer), kid="made-up"))
        assert issuer.fetched == 2

    async def test_a_key_that_was_taken_back_is_good_no_more(
        self, tokens: Set, issuer: Issuer, clock: ManualClock
    ) -> None:
        token = issuer.token(claims(issuer, exp=NOW + 3600))
        await tokens.ask(token)
        issuer.published.clear()
        issuer.new_ec("ec-2")
        clock.advance(seconds=600)
        await tokens.ask(token)  # nobody waits for the new keys
        assert tokens.keys._fetching is not None
        await tokens.keys._fetching
        await refused(tokens, token)
        assert tokens.changes == 2

    async def test_an_issuer_that_is_down_is_no_yes(self, tokens: Set, issuer: Issuer) -> None:
        issuer.status = 500
        with pytest.raises(Unavailable):
            await tokens.ask(issuer.token(claims(issuer)))

    async def test_known_keys_are_believed_for_a_day_while_the_issuer_is_down(
        self, tokens: Set, issuer: Issuer, clock: ManualClock
    ) -> None:
        token = issuer.token(claims(issuer, exp=NOW + 10**6))
        await tokens.ask(token)
        issuer.status = 500
        clock.advance(seconds=86_399)
        await tokens.ask(token)
        clock.advance(seconds=11)
        with pytest.raises(Unavailable):
            await tokens.ask(token)
        issuer.status = 200
        clock.advance(seconds=10)
        assert (await tokens.ask(token)).user == "ann"

    async def test_an_unknown_key_while_the_issuer_is_down_is_neither_yes_nor_no(
        self, tokens: Set, issuer: Issuer, clock: ManualClock
    ) -> None:
        await tokens.ask(issuer.token(claims(issuer)))
        issuer.status = 500
        clock.advance(seconds=10)
        with pytest.raises(Unavailable):
            await tokens.ask(issuer.token(claims(issuer), kid="perhaps-new"))


class TestUsableKeys:
    def test_secret_short_and_foreign_keys_are_passed_over(self, issuer: Issuer) -> None:
        listed = [
            *issuer.published,
            {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
            {**issuer.published[0], "kid": "for-encryption", "use": "enc"},
            {"kty": "RSA", "kid": "broken", "n": "AQAB"},
            {"kty": "quantum", "kid": "new"},
            "text",
        ]
        found = usable_keys(json.dumps({"keys": listed}).encode())
        assert [key.kid for key in found] == ["rsa-1"]

    def test_a_published_private_key_is_not_kept(self, issuer: Issuer) -> None:
        private = dict(issuer.rsa.as_dict(private=True))
        (key,) = usable_keys(json.dumps({"keys": [private]}).encode())
        assert not key.is_private

    @pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"keys": []}', b'{"keys": {}}'])
    def test_a_set_without_keys_is_none(self, text: bytes) -> None:
        with pytest.raises(ValueError, match=r"."):
            usable_keys(text)


def _part(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()
