"""The book of limits: what holds for all, what was said about one, and who knows of it."""

import msgspec
import pytest

from nuska.core.quotas import ANY, LOOKS_PER_READING, MAX_NAMED, QUOTAS, QuotaBook
from nuska.domain.errors import Unavailable
from nuska.domain.quotas import NAMES, Override, Quota
from nuska.interfaces.records import ABSENT
from nuska.stores.memory.records import MemoryRecords


@pytest.fixture
def records() -> MemoryRecords:
    return MemoryRecords()


@pytest.fixture
def book(records: MemoryRecords) -> QuotaBook:
    return QuotaBook(Quota(messages=100, queues=3), records)


def test_what_is_said_about_a_project_has_the_names_of_what_holds_for_all() -> None:
    assert Override.__struct_fields__ == NAMES


async def test_what_is_said_about_a_project_goes_before_what_holds_for_all(
    book: QuotaBook,
) -> None:
    await book.put("acme", Override(messages=7, queues=None, claims=2))
    assert book.of("acme") == Quota(messages=7, queues=None, claims=2)
    assert book.of("rival") == Quota(messages=100, queues=3)
    await book.put("acme", Override(claims=5))
    assert book.of("acme") == Quota(messages=100, queues=3, claims=5)
    await book.reset("acme")
    await book.reset("acme")
    assert book.of("acme") == book.defaults
    assert not book.own


async def test_nobody_need_ask_or_count_before_something_is_limited(
    records: MemoryRecords,
) -> None:
    book = QuotaBook(Quota(connections=10), records)
    assert (book.limits_rates, book.limits_stock) == (False, False)
    await book.put("acme", Override(requests_per_second=5))
    assert (book.limits_rates, book.limits_stock) == (True, False)
    await book.put("acme", Override(bytes=5))
    assert (book.limits_rates, book.limits_stock) == (False, True)
    await book.reset("acme")
    assert (book.limits_rates, book.limits_stock) == (False, False)


async def test_what_was_said_outlives_the_process_and_is_heard_on_other_nodes(
    book: QuotaBook, records: MemoryRecords
) -> None:
    other = QuotaBook(Quota(), records)
    await other.read()
    await book.put("acme", Override(messages=7))
    await book.put("b", Override(messages=None))
    assert other.of("acme").messages is None
    await other.look()
    assert other.of("acme").messages == 7
    assert other.said_about("b").said == {"messages": None}
    await other.reset("acme")
    await book.look()
    assert book.of("acme") == book.defaults
    late = QuotaBook(Quota(), records)
    await late.read()
    assert list(late.own) == ["b"]


async def test_two_who_say_something_at_the_same_time_hear_of_each_other(
    book: QuotaBook, records: MemoryRecords
) -> None:
    other = QuotaBook(Quota(), records)
    await book.read()
    await other.read()
    await book.put("a", Override(messages=1))
    await other.put("b", Override(messages=2))
    await book.look()
    await other.look()
    for each in (book, other):
        assert (each.of("a").messages, each.of("b").messages) == (1, 2)


async def test_what_nobody_lived_to_tell_of_is_heard_in_the_end(
    book: QuotaBook, records: MemoryRecords
) -> None:
    await book.read()
    said = msgspec.json.encode(Override(messages=7))
    await records.put(QUOTAS, "acme", said, version=ABSENT)
    await book.look()
    assert book.of("acme").messages == 100
    for _ in range(LOOKS_PER_READING):
        await book.look()
    assert book.of("acme").messages == 7


async def test_a_limit_of_a_later_version_takes_nothing_from_the_others(
    book: QuotaBook, records: MemoryRecords
) -> None:
    later = b'{"messages": 7, "letters_per_fortnight": 3}'
    await records.put(QUOTAS, "acme", later, version=ABSENT)
    await book.read()
    assert book.of("acme").messages == 7


async def test_many_projects_are_read_page_by_page(book: QuotaBook, records: MemoryRecords) -> None:
    for number in range(250):
        await book.put(f"p{number}", Override(messages=number))
    other = QuotaBook(Quota(), records)
    await other.read()
    assert [other.of(f"p{number}").messages for number in range(250)] == list(range(250))


async def test_a_store_without_records_has_the_limits_of_all_only() -> None:
    book = QuotaBook(Quota(messages=5), None)
    await book.read()
    await book.look()
    assert book.of("acme").messages == 5
    with pytest.raises(Unavailable):
        await book.put("acme", Override(messages=7))


async def test_refusals_of_more_projects_than_can_be_named_are_counted_together(
    book: QuotaBook,
) -> None:
    for number in range(MAX_NAMED + 50):
        book.count_refusal("messages", f"p{number}")
    assert len(book.refused) <= MAX_NAMED + 1
    assert book.refused["messages", ANY] == 50
    assert sum(book.refused.values()) == MAX_NAMED + 50
