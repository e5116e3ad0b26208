"""API keys: made once, known by a digest, never more than who makes them, gone when revoked."""

import pytest
from msgspec import json
from msgspec.structs import replace

from nuska.core.key_records import KEYS, KEYS_OF, KeyRecords
from nuska.core.key_uses import KeyUses
from nuska.core.keys import KeyDraft, KeyService
from nuska.domain import keys as domain
from nuska.domain.errors import InvalidInput, NotAllowed, NotAuthenticated, NotFound
from nuska.domain.moments import Moment
from nuska.identity.keys import KeyTokens
from nuska.interfaces.identity import Caller, Grant
from nuska.stores.memory.records import MemoryRecords
from nuska.testing.clock import START, ManualClock, seeded_bytes

ADMIN = Caller("shop", frozenset({"admin", "member"}), user="ann")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store() -> MemoryRecords:
    return MemoryRecords()


@pytest.fixture
def keys(store: MemoryRecords, clock: ManualClock) -> KeyService:
    return KeyService(KeyRecords(store), clock, seeded_bytes())


async def test_a_key_is_good_for_its_project_roles_and_limits(keys: KeyService) -> None:
    draft = KeyDraft(queues=("jobs",), actions=("messages:create", "claims:*"), roles=("Member",))
    made = await keys.create(ADMIN, draft)
    found = await keys.who(made.secret)
    assert (found.project, found.roles, found.expires_at) == ("shop", {"member"}, None)
    assert found.grant is not None
    assert found.grant.queues == {"jobs"}
    assert found.grant.actions == {
        "messages:create",
        "claims:create",
        "claims:get",
        "claims:update",
        "claims:delete",
    }


async def test_what_is_kept_is_not_the_key(keys: KeyService, store: MemoryRecords) -> None:
    made = await keys.create(ADMIN, KeyDraft(name="sensor"))
    secret = made.secret.rpartition("_")[2]
    for collection in (KEYS, KEYS_OF):
        for record in await store.page(collection, limit=10):
            assert secret not in record.key
            assert secret.encode() not in record.value
    assert secret not in repr(made)
    shown = await keys.get(ADMIN, made.key.id)
    assert secret not in repr(shown)


@pytest.mark.parametrize("change", ["secret", "id", "cut", "upper", "blank", "other"])
async def test_anything_like_a_key_is_refused(keys: KeyService, change: str) -> None:
    made = await keys.create(ADMIN, KeyDraft())
    other = await keys.create(ADMIN, KeyDraft())
    good = made.secret
    bad = {
        "secret": good[:-1] + ("0" if good[-1] != "0" else "1"),
        "id": good.replace(made.key.id, "0" * 16),
        "cut": good[:-2],
        "upper": good.upper(),
        "blank": good + "\n",
        "other": good.replace(made.key.id, other.key.id),
    }[change]
    with pytest.raises(NotAuthenticated) as caught:
        await keys.who(bad)
    assert bad not in str(caught.value)


async def test_a_record_copied_to_another_id_is_no_key(
    keys: KeyService, store: MemoryRecords
) -> None:
    made = await keys.create(ADMIN, KeyDraft())
    record = await store.get(KEYS, made.key.id)
    assert record is not None
    copied = replace(json.decode(record.value, type=domain.Key), id="0" * 16)
    await store.put(KEYS, "0" * 16, json.encode(copied), version="")
    with pytest.raises(NotAuthenticated):
        await keys.who(made.secret.replace(made.key.id, "0" * 16))


async def test_a_key_ends_in_time(keys: KeyService, clock: ManualClock) -> None:
    made = await keys.create(ADMIN, KeyDraft(ttl=60))
    assert (await keys.who(made.secret)).expires_at == START + 60_000
    clock.advance(seconds=60)
    with pytest.raises(NotAuthenticated):
        await keys.who(made.secret)
    assert (await keys.get(ADMIN, made.key.id)).key.id == made.key.id


async def test_a_key_that_ends_makes_none_that_outlives_it(keys: KeyService) -> None:
    ends = Moment(START + 60_000)
    holder = Caller("shop", frozenset({"admin"}), grant=Grant(id="key:1"), expires_at=ends)
    for ttl in (None, 61):
        with pytest.raises(NotAllowed, match="outlives"):
            await keys.create(holder, KeyDraft(ttl=ttl))
    assert (await keys.create(holder, KeyDraft(ttl=60))).key.expires_at == ends


async def test_it_can_be_told_later_whether_a_key_was_revoked(keys: KeyService) -> None:
    made = await keys.create(ADMIN, KeyDraft())
    found = await keys.who(made.secret)
    assert found.grant is not None
    assert await keys.is_still_good(found.grant)
    await keys.revoke(ADMIN, made.key.id)
    assert not await keys.is_still_good(found.grant)
    assert await keys.is_still_good(Grant(id="of something else"))


async def test_a_revoked_key_is_gone(keys: KeyService, store: MemoryRecords) -> None:
    made = await keys.create(ADMIN, KeyDraft())
    await keys.revoke(ADMIN, made.key.id)
    await keys.revoke(ADMIN, made.key.id)
    with pytest.raises(NotAuthenticated):
        await keys.who(made.secret)
    with pytest.raises(NotFound):
        await keys.get(ADMIN, made.key.id)
    assert [await store.page(name, limit=9) for name in (KEYS, KEYS_OF)] == [[], []]


class TestWhoMayMakeThem:
    @pytest.mark.parametrize("roles", [(), ("member",), ("reader",)])
    async def test_no_one_below_an_admin(self, keys: KeyService, roles: tuple[str, ...]) -> None:
        with pytest.raises(NotAllowed):
            await keys.create(Caller("shop", frozenset(roles)), KeyDraft())

    async def test_nobody_gives_a_role_that_he_has_not(self, keys: KeyService) -> None:
        with pytest.raises(NotAllowed):
            await keys.create(ADMIN, KeyDraft(roles=("auditor",)))
        only_admin = Caller("shop", frozenset({"admin"}))
        assert (await keys.create(only_admin, KeyDraft(roles=("reader",)))).secret

    @pytest.mark.parametrize(
        "grant",
        [
            Grant(actions=frozenset({"keys:create"})),
            Grant(queues=frozenset({"jobs"})),
            Grant(topics=frozenset({"news"})),
        ],
    )
    async def test_a_limited_credential_makes_none(self, keys: KeyService, grant: Grant) -> None:
        caller = Caller("shop", frozenset({"admin"}), grant=grant)
        with pytest.raises(NotAllowed):
            await keys.create(caller, KeyDraft())

    async def test_there_is_an_end_to_them(
        self, keys: KeyService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(domain, "MAX_KEYS", 3)
        for _ in range(3):
            await keys.create(ADMIN, KeyDraft())
        with pytest.raises(NotAllowed):
            await keys.create(ADMIN, KeyDraft())
        assert (await keys.create(replace(ADMIN, project="bank"), KeyDraft())).secret


class TestOtherProjects:
    """I17: what is another's is as if it were not there."""

    async def test_their_keys_are_not_seen_and_not_revoked(self, keys: KeyService) -> None:
        made = await keys.create(ADMIN, KeyDraft())
        stranger = replace(ADMIN, project="shop2")
        with pytest.raises(NotFound):
            await keys.get(stranger, made.key.id)
        await keys.revoke(stranger, made.key.id)
        assert (await keys.who(made.secret)).project == "shop"
        assert await keys.page(stranger) == []

    @pytest.mark.parametrize("marker", ["", "\x1f", "z", "shop2", "\U0010ffff"])
    async def test_no_marker_leads_to_them(self, keys: KeyService, marker: str) -> None:
        await keys.create(replace(ADMIN, project="shop2"), KeyDraft())
        await keys.create(replace(ADMIN, project="sho"), KeyDraft())
        assert await keys.page(ADMIN, after=marker) == []


async def test_all_keys_are_listed_page_after_page(keys: KeyService) -> None:
    made = {(await keys.create(ADMIN, KeyDraft(name=str(number)))).key.id for number in range(25)}
    seen: list[str] = []
    while page := await keys.page(ADMIN, after=seen[-1] if seen else "", limit=7):
        seen += [shown.key.id for shown in page]
    assert seen == sorted(made)


@pytest.mark.parametrize(
    "draft",
    [
        KeyDraft(name="x" * 256),
        KeyDraft(name="a\nb"),
        KeyDraft(roles=()),
        KeyDraft(roles=("",)),
        KeyDraft(roles=("a,b",)),
        KeyDraft(roles=("member",) * 20 + tuple(map(str, range(21)))),
        KeyDraft(queues=()),
        KeyDraft(queues=("a/b",)),
        KeyDraft(topics=("",)),
        KeyDraft(actions=()),
        KeyDraft(actions=("everything",)),
        KeyDraft(actions=("*",)),
        KeyDraft(actions=("messages:fly",)),
        KeyDraft(ttl=59),
        KeyDraft(ttl=-1),
        KeyDraft(ttl=10**12),
    ],
)
async def test_a_key_that_cannot_be_is_refused(keys: KeyService, draft: KeyDraft) -> None:
    with pytest.raises(InvalidInput):
        await keys.issue("shop", draft, by="")


class TestUses:
    async def test_the_last_use_is_shown_to_the_hour(
        self, keys: KeyService, store: MemoryRecords, clock: ManualClock
    ) -> None:
        uses = KeyUses(KeyRecords(store), clock)
        tokens = KeyTokens(keys, uses, clock, seeded_bytes())
        made = await keys.create(ADMIN, KeyDraft())
        assert (await keys.get(ADMIN, made.key.id)).used_at is None
        clock.advance(seconds=2 * 3600 + 59)
        await tokens.verify(made.secret)
        await uses.write()
        assert (await keys.get(ADMIN, made.key.id)).used_at == START + 2 * 3_600_000
        await tokens.close()

    async def test_a_use_noted_after_the_revocation_leaves_nothing(
        self, keys: KeyService, store: MemoryRecords, clock: ManualClock
    ) -> None:
        uses = KeyUses(KeyRecords(store), clock)
        made = await keys.create(ADMIN, KeyDraft())
        uses.note("shop", made.key.id)
        await keys.revoke(ADMIN, made.key.id)
        await uses.write()
        assert await store.page("key_uses", limit=10) == []


class TestTokens:
    async def test_a_key_revoked_here_is_refused_at_once(
        self, keys: KeyService, store: MemoryRecords, clock: ManualClock
    ) -> None:
        tokens = KeyTokens(keys, KeyUses(KeyRecords(store), clock), clock, seeded_bytes())
        made = await keys.create(ADMIN, KeyDraft())
        await tokens.verify(made.secret)
        assert tokens.cached(made.secret) is not None
        await keys.revoke(ADMIN, made.key.id)
        assert tokens.cached(made.secret) is None
        with pytest.raises(NotAuthenticated):
            await tokens.verify(made.secret)
        await tokens.close()

    async def test_a_key_revoked_elsewhere_is_refused_within_seconds(
        self, keys: KeyService, store: MemoryRecords, clock: ManualClock
    ) -> None:
        tokens = KeyTokens(keys, KeyUses(KeyRecords(store), clock), clock, seeded_bytes())
        made = await keys.create(ADMIN, KeyDraft())
        await tokens.verify(made.secret)
        other_node = KeyService(KeyRecords(store), clock, seeded_bytes(1))
        await other_node.revoke(ADMIN, made.key.id)
        clock.advance(seconds=5)
        assert tokens.cached(made.secret) is None
        with pytest.raises(NotAuthenticated):
            await tokens.verify(made.secret)
        await tokens.close()
