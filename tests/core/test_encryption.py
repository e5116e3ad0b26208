"""Encrypted queues: nothing plain in the store, plain bodies to every reader, keys that end."""

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from nuska.core import Core, build_core
from nuska.core.claims import ClaimTerms
from nuska.core.messages import Draft
from nuska.core.vault import DATA_KEYS, REMEMBERED_FOR, SEALING_KEYS, KeyVault
from nuska.domain.errors import (
    Conflict,
    InvalidInput,
    KeyMissing,
    NotAllowed,
    NotFound,
    QuotaExceeded,
    Unavailable,
)
from nuska.domain.messages import Idempotency, QueueRef
from nuska.domain.moments import Duration, seconds
from nuska.domain.positions import BEFORE_ALL
from nuska.domain.quotas import Quota
from nuska.domain.sealed import MARK, is_sealed
from nuska.domain.sealing import OperatorKeys
from nuska.interfaces.identity import Caller, Grant, Verified
from nuska.stores.memory.store import MemoryStore
from nuska.testing.clock import ManualClock, seeded_bytes

ANN = Caller(project="acme", client=b"ann")
BOB = Caller(project="acme", client=b"bob")
JOBS = QueueRef("acme", "jobs")
FIRST, SECOND = (b64encode(bytes([n] * 32)).decode() for n in (1, 2))
LIFE = seconds(3600)
BODY = b'{"card": "4711 0815"}'


class Service:
    """A core over a store, with the operator's keys as they are configured."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(now=self.clock.now(), random_bytes=seeded_bytes())
        self.keys(FIRST)

    def keys(self, *keys: str) -> None:
        """Started anew with these keys."""
        self.vault = None if not keys else self._vault(*keys)
        self.core: Core = build_core(
            store=self.store, clock=self.clock, random_bytes=seeded_bytes(7), vault=self.vault
        )

    def _vault(self, *keys: str) -> KeyVault:
        chance = seeded_bytes(len(keys) + self.clock.now() % 97)
        return KeyVault(
            self.store.records, OperatorKeys(keys), self.clock, chance, key_life=Duration(LIFE)
        )

    async def encrypt(self, name: str = "jobs", *, on: bool = True) -> None:
        metadata = {"_enable_encrypt_messages": on}
        if not await self.core.queues.create(ANN, name, metadata):
            change = {"op": "add", "path": "/metadata/_enable_encrypt_messages", "value": on}
            await self.core.queues.update(ANN, name, [change])

    async def post(self, *bodies: bytes, name: str = "jobs") -> list[str]:
        added = await self.core.messages.post(ANN, name, [Draft(body) for body in bodies])
        return [str(one) for one in added.ids]

    async def stored(self, name: str = "jobs") -> list[bytes]:
        page = await self.store.messages.page(
            QueueRef("acme", name), after=BEFORE_ALL, limit=100, now=self.clock.now(),
            include_claimed=True,
        )  # fmt: skip
        return [message.body for message in page.messages]

    async def listed(self, name: str = "jobs") -> list[bytes]:
        page = await self.core.messages.page(BOB, name, echo=True, include_claimed=True)
        return [message.body for message in page.messages]


@pytest.fixture
def service() -> Service:
    return Service()


async def test_every_reader_gets_the_body_as_posted_and_the_store_none(service: Service) -> None:
    await service.encrypt()
    (message,) = await service.post(BODY)
    assert all(is_sealed(body) for body in await service.stored())
    core = service.core
    assert await service.listed() == [BODY]
    assert (await core.messages.get(BOB, "jobs", message)).body == BODY
    assert [m.body for m in await core.messages.by_ids(BOB, "jobs", [message])] == [BODY]
    taken = await core.claims.create(BOB, "jobs", ClaimTerms())
    assert taken is not None
    assert [m.body for m in taken.messages] == [BODY]
    assert [m.body for m in (await core.claims.get(BOB, "jobs", taken.id)).messages] == [BODY]
    await core.claims.release(BOB, "jobs", taken.id)
    assert [m.body for m in await core.messages.pop(BOB, "jobs", 1)] == [BODY]


async def test_a_pop_that_is_undone_puts_back_what_was_sealed(service: Service) -> None:
    await service.encrypt()
    await service.post(BODY)
    sealed = await service.stored()
    popped = await service.core.messages.pop(BOB, "jobs", 1)
    await service.core.messages.undo_pop(BOB, "jobs", popped)
    assert await service.stored() == sealed
    assert await service.listed() == [BODY]


async def test_the_setting_counts_for_later_posts_and_readers_need_not_know_it(
    service: Service,
) -> None:
    await service.post(b'"before"')
    await service.encrypt()
    await service.post(b'"sealed"')
    await service.encrypt(on=False)
    await service.post(b'"after"')
    assert [is_sealed(body) for body in await service.stored()] == [False, True, False]
    assert await service.listed() == [b'"before"', b'"sealed"', b'"after"']


@pytest.mark.parametrize("on", [True, False])
async def test_a_body_that_looks_sealed_comes_back_as_the_same_value(
    service: Service, on: bool
) -> None:
    await service.encrypt(on=on)
    posted = MARK + b'AAAA"'
    await service.post(posted)
    (shown,) = await service.listed()
    assert shown.lower() == posted.lower()


async def test_queues_of_a_project_have_keys_of_their_own(service: Service) -> None:
    await service.encrypt("one")
    await service.encrypt("two")
    await service.post(BODY, name="one")
    await service.post(BODY, name="two")
    await service.post(BODY, name="one")
    assert service.vault is not None
    keys = await service.vault.page("acme", after="", limit=10)
    assert sorted(key.queue for _, key in keys) == ["one", "two"]


async def test_a_key_that_has_served_its_time_seals_nothing_more_and_still_opens(
    service: Service,
) -> None:
    await service.encrypt()
    await service.post(b'"old"')
    service.clock.advance(milliseconds=LIFE)
    await service.core.messages.post(ANN, "jobs", [Draft(b'"new"', ttl=600)])
    assert service.vault is not None
    assert len(await service.vault.page("acme", after="", limit=10)) == 2


async def test_a_rotation_gives_the_next_post_another_key(service: Service) -> None:
    await service.encrypt()
    await service.post(b'"old"')
    assert service.vault is not None
    assert await service.vault.rotate("acme") == 1
    await service.post(b'"new"')
    assert len(await service.vault.page("acme", after="", limit=10)) == 2
    assert await service.listed() == [b'"old"', b'"new"']


async def test_without_keys_no_queue_can_be_encrypted(service: Service) -> None:
    service.keys()
    with pytest.raises(InvalidInput, match="no encryption key is configured"):
        await service.encrypt()


async def test_without_the_keys_it_had_the_service_is_unavailable_and_loses_nothing(
    service: Service,
) -> None:
    await service.encrypt()
    await service.post(BODY)
    for keys in ((), (SECOND,)):
        service.keys(*keys)
        with pytest.raises(Unavailable, match="encryption key"):
            await service.listed()
        with pytest.raises(Unavailable, match="encryption key"):
            await service.core.claims.create(BOB, "jobs", ClaimTerms())
        with pytest.raises(Unavailable, match="encryption key"):
            await service.core.messages.pop(BOB, "jobs", 1)
    service.keys()
    with pytest.raises(Unavailable, match="encryption key"):
        await service.post(b'"more"')
    service.keys(FIRST)
    taken = await service.core.claims.create(BOB, "jobs", ClaimTerms())
    assert taken is not None
    assert [(m.body, m.claim_count) for m in taken.messages] == [(BODY, 1)]


async def test_it_is_known_by_name_which_operator_s_keys_are_missing(service: Service) -> None:
    await service.encrypt()
    await service.post(BODY)
    assert await service.core.health.missing_keys() == []
    first = OperatorKeys([FIRST]).first
    for configured in ((), (SECOND,)):
        service.keys(*configured)
        assert await service.core.health.missing_keys() == [first]
        found = await service.core.health.check(Caller("ops", frozenset({"admin"})))
        assert found.missing_encryption_keys == [first]
        with pytest.raises(KeyMissing) as refused:
            await service.listed()
        assert refused.value.retry_after is None
    service.keys(SECOND, FIRST)
    assert await service.core.health.missing_keys() == []


async def test_the_operator_s_key_is_exchanged_with_an_overlap(service: Service) -> None:
    await service.encrypt()
    await service.post(BODY)
    service.keys(SECOND, FIRST)
    assert await service.listed() == [BODY]
    assert service.vault is not None
    assert await service.vault.rewrap() == 1
    assert await service.vault.rewrap() == 0
    service.keys(SECOND)
    assert await service.listed() == [BODY]


async def test_erasing_a_project_s_keys_erases_its_data_and_nobody_else_s(
    service: Service,
) -> None:
    await service.encrypt()
    await service.post(BODY, b'"two"')
    other = Caller(project="acme2", client=b"x")
    await service.core.queues.create(other, "jobs", {"_enable_encrypt_messages": True})
    await service.core.messages.post(other, "jobs", [Draft(b'"theirs"')])
    assert service.vault is not None
    assert await service.vault.erase("acme") == 1
    assert await service.listed() == []
    theirs = await service.core.messages.page(other, "jobs", echo=True)
    assert [m.body for m in theirs.messages] == [b'"theirs"']
    await service.post(b'"anew"')
    taken = await service.core.claims.create(BOB, "jobs", ClaimTerms())
    assert taken is not None
    assert [m.body for m in taken.messages] == [b'"anew"']
    assert len(await service.stored()) == 1, "what nobody can open is deleted when it is claimed"


async def test_erasing_takes_an_operator_s_key_and_not_the_one_that_wraps_what_is_erased(
    service: Service,
) -> None:
    await service.encrypt()
    await service.post(BODY)
    operator = Caller("acme", frozenset({"admin"}))
    service.keys()
    with pytest.raises(InvalidInput, match="No encryption key is configured"):
        await service.core.encryption.erase(operator)
    service.keys(SECOND)
    with pytest.raises(KeyMissing):
        await service.listed()
    assert await service.core.encryption.erase(operator) == 1
    assert await service.listed() == []


STEPS = 5
"""In which a wait passes."""


class Elsewhere:
    """Another node on the same store, whose waits pass at once."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.slept = 0.0
        self.meanwhile: list[Callable[[], Awaitable[object]]] = []
        """What happens during the waits, one after the other."""
        records, chance = service.store.records, seeded_bytes(11)
        self.vault = KeyVault(
            records,
            OperatorKeys((FIRST,)),
            service.clock,
            chance,
            key_life=Duration(LIFE),
            alone=False,
            sleep=self.sleep,
        )

    async def sleep(self, seconds: float) -> None:
        for _ in range(STEPS):
            self.slept += seconds / STEPS
            self.service.clock.advance(milliseconds=int(seconds * 1000) // STEPS)
            for happens in self.meanwhile:
                await happens()


async def test_an_erasure_has_ended_when_no_node_opens_anything_by_the_keys(
    service: Service,
) -> None:
    await service.encrypt()
    (message,) = await service.post(BODY)
    elsewhere = Elsewhere(service)
    seen = []

    async def look() -> None:
        seen.append(await service.listed())

    elsewhere.meanwhile.append(look)
    assert await elsewhere.vault.erase("acme") == 1
    assert [BODY] in seen, "it takes a while until they have forgotten the key"
    with pytest.raises(NotFound):
        await service.core.messages.get(BOB, "jobs", message)


async def test_what_is_posted_during_an_erasure_elsewhere_after_a_moment_is_kept(
    service: Service,
) -> None:
    await service.encrypt()
    await service.post(BODY)
    elsewhere = Elsewhere(service)
    posted: list[tuple[float, str]] = []

    async def post() -> None:
        posted.append((elsewhere.slept, (await service.post(b'"new"'))[0]))

    elsewhere.meanwhile.append(post)
    assert await elsewhere.vault.erase("acme") == 1
    afterwards = (await service.post(b'"after"'))[0]
    service.clock.advance(seconds=20)
    page = await service.core.messages.page(BOB, "jobs", echo=True, limit=20)
    kept = [str(found.id) for found in page.messages]
    late = [id_ for slept, id_ in posted if slept > REMEMBERED_FOR / 1000]
    assert len(late) > STEPS
    assert kept[-len(late) - 1 :] == [*late, afterwards]


async def test_a_key_that_is_just_being_made_survives_an_erasure(service: Service) -> None:
    await service.encrypt()
    await service.post(BODY)
    elsewhere = Elsewhere(service)
    records = service.store.records
    remove = records.remove
    made: list[str] = []

    async def remove_then_another_is_made(collection: str, key: str, **how: Any) -> bool:
        if collection == DATA_KEYS and not made:
            made.extend(await service.post(b'"made just now"'))
            del_later = await elsewhere.vault.page("acme", after="", limit=10)
            assert len(del_later) == 2
        return await remove(collection, key, **how)

    records.remove = remove_then_another_is_made  # type: ignore[method-assign]
    service.clock.advance(milliseconds=REMEMBERED_FOR)
    assert await elsewhere.vault.erase("acme") == 1
    service.clock.advance(milliseconds=REMEMBERED_FOR)
    assert await service.listed() == [b'"made just now"']


@pytest.mark.parametrize("alone", [True, False])
async def test_a_key_that_becomes_a_queue_s_during_an_erasure_is_there_at_every_moment(
    service: Service, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who does not find it takes what it sealed for erased, and a claim deletes that."""
    await service.encrypt()
    await service.encrypt("more")
    await service.post(BODY)
    elsewhere = Elsewhere(service)
    records = service.store.records
    put, remove = records.put, records.remove
    is_made, may_become_its = asyncio.Event(), asyncio.Event()
    posting: list[asyncio.Task[list[str]]] = []

    async def put_when_it_may(collection: str, key: str, value: bytes, **how: Any) -> Any:
        if collection == SEALING_KEYS:
            is_made.set()
            await may_become_its.wait()
        return await put(collection, key, value, **how)

    async def post() -> None:
        if not posting:
            posting.append(asyncio.create_task(service.post(b'"kept"', name="more")))
            await is_made.wait()

    async def remove_after_it_became_its(collection: str, key: str, **how: Any) -> bool:
        if collection != DATA_KEYS:
            return await remove(collection, key, **how)
        may_become_its.set()
        await posting[0]
        removed = await remove(collection, key, **how)
        there = await elsewhere.vault.page("acme", after="", limit=10)
        assert "more" in {key.queue for _, key in there}
        return removed

    monkeypatch.setattr(records, "put", put_when_it_may)
    monkeypatch.setattr(records, "remove", remove_after_it_became_its)
    async with asyncio.timeout(10):
        if alone:
            await post()
            assert service.vault is not None
            assert await service.vault.erase("acme") == 1
        else:
            elsewhere.meanwhile.append(post)
            assert await elsewhere.vault.erase("acme") == 1
    service.clock.advance(milliseconds=REMEMBERED_FOR)
    assert await service.listed("more") == [b'"kept"']
    assert await service.listed() == []


async def test_what_is_posted_after_an_erasure_is_kept_though_a_post_was_just_asking_for_its_key(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.encrypt()
    await service.post(BODY)
    service.clock.advance(milliseconds=REMEMBERED_FOR)
    assert service.vault is not None
    vault, records = service.vault, service.store.records
    get = records.get
    erased: list[int] = []

    async def get_and_then_all_is_erased(collection: str, key: str) -> Any:
        found = await get(collection, key)
        if collection == DATA_KEYS and not erased:
            erased.append(0)
            erased.append(await vault.erase("acme"))
        return found

    monkeypatch.setattr(records, "get", get_and_then_all_is_erased)
    await service.post(b'"meanwhile"')
    await service.post(b'"after"')
    assert erased == [0, 1]
    service.clock.advance(milliseconds=REMEMBERED_FOR)
    assert await service.listed() == [b'"meanwhile"', b'"after"']


async def test_an_erasure_removes_a_key_that_is_just_being_wrapped_anew(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.encrypt()
    await service.post(BODY)
    service.keys(SECOND, FIRST)
    assert service.vault is not None
    vault, records = service.vault, service.store.records
    remove = records.remove

    async def wrap_then_remove(collection: str, key: str, **how: Any) -> bool:
        if collection == DATA_KEYS:
            await vault.rewrap()
        return await remove(collection, key, **how)

    monkeypatch.setattr(records, "remove", wrap_then_remove)
    assert await vault.erase("acme") == 1
    assert await service.listed() == []


async def test_a_claim_that_deletes_what_nobody_can_open_gives_its_room_at_once(
    service: Service,
) -> None:
    service.core = build_core(
        store=service.store, clock=service.clock, vault=service.vault, quota=Quota(messages=2)
    )
    await service.encrypt()
    await service.post(BODY, BODY)
    with pytest.raises(QuotaExceeded):
        await service.post(BODY)
    assert service.vault is not None
    await service.vault.erase("acme")
    assert await service.core.claims.create(BOB, "jobs", ClaimTerms()) is None
    await service.post(b'"anew"')
    assert await service.listed() == [b'"anew"']


async def test_a_listing_passes_over_pages_that_nobody_can_open_any_more(
    service: Service,
) -> None:
    await service.encrypt()
    await service.post(*[BODY] * 15)
    await service.post(*[BODY] * 15)
    assert service.vault is not None
    await service.vault.erase("acme")
    await service.post(b'"anew"')
    for limit in (1, 10, 20):
        page = await service.core.messages.page(BOB, "jobs", echo=True, limit=limit)
        assert [message.body for message in page.messages] == [b'"anew"']
    await service.post(b'"later"')
    page = await service.core.messages.page(BOB, "jobs", echo=True, limit=1)
    [first] = page.messages
    rest = await service.core.messages.page(BOB, "jobs", echo=True, marker=page.marker)
    assert [message.body for message in (first, *rest.messages)] == [b'"anew"', b'"later"']


async def test_a_message_stays_open_to_readers_in_the_dead_letter_queue(service: Service) -> None:
    metadata = {
        "_enable_encrypt_messages": True,
        "_dead_letter_queue": "dead",
        "_max_claim_count": 1,
    }
    await service.core.queues.create(ANN, "jobs", metadata)
    await service.post(BODY)
    for _ in range(2):
        taken = await service.core.claims.create(BOB, "jobs", ClaimTerms())
        if taken is not None:
            await service.core.claims.release(BOB, "jobs", taken.id)
    assert all(is_sealed(body) for body in await service.stored("dead"))
    assert await service.listed("dead") == [BODY]


async def test_a_post_repeated_by_its_key_is_known_though_no_digest_of_it_is_stored(
    service: Service,
) -> None:
    await service.encrypt()
    core = service.core

    async def post(body: bytes, print_of_it: bytes) -> list[str]:
        promise = Idempotency("once", print_of_it)
        added = await core.messages.post(ANN, "jobs", [Draft(body)], idempotency=promise)
        return [str(one) for one in added.ids]

    first = await post(BODY, b"print")
    assert await post(BODY, b"print") == first
    with pytest.raises(Conflict):
        await post(b'"other"', b"other print")


async def test_a_post_is_known_again_after_its_queue_or_the_operator_s_keys_were_changed(
    service: Service,
) -> None:
    async def post() -> list[str]:
        promise = Idempotency("once", b"print")
        added = await service.core.messages.post(ANN, "jobs", [Draft(BODY)], idempotency=promise)
        return [str(one) for one in added.ids]

    first = await post()
    await service.encrypt()
    assert await post() == first
    service.keys(SECOND, FIRST)
    assert await post() == first


async def test_a_key_limited_to_a_queue_names_no_other_one_for_dead_letters(
    service: Service,
) -> None:
    grant = Grant(id="key:1", queues=frozenset({"jobs"}))
    limited = service.core.access.caller(
        Verified(project="acme", roles=frozenset({"member"}), grant=grant), "acme", b"k"
    )
    metadata = {"_dead_letter_queue": "other", "_max_claim_count": 1}
    with pytest.raises(NotAllowed):
        await service.core.queues.create(limited, "jobs", metadata)
    assert await service.core.queues.create(limited, "jobs", {"_dead_letter_queue": "jobs"})
