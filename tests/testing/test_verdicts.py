"""The judge of histories is shown lies, and finds every one of them."""

from collections.abc import Callable

import pytest

from nuska.testing.histories import (
    Deletion,
    Found,
    History,
    Post,
    Purge,
    Release,
    Renewal,
    Take,
)
from nuska.testing.verdicts import judge


def one(number: int) -> str:
    """An id: the position, and then what nobody can guess."""
    return f"{number:014x}{'ab' * 9}"


def post(queue: str, at: float, *numbers: int, known: bool = True, key: str | None = None) -> Post:
    return Post(
        queue=queue,
        bodies=[f"body {number}" for number in numbers],
        ids=[one(number) for number in numbers] if known else [],
        sent=at,
        ended=at + 0.1,
        known=known,
        key=key,
    )


def claim(queue: str, at: float, claim_id: str, *numbers: int, known: bool = True) -> Take:
    return Take(
        queue=queue,
        limit=10,
        is_claim=True,
        claim_id=claim_id,
        ttl=60,
        messages=[(one(number), f"body {number}") for number in numbers],
        sent=at,
        ended=at + 0.1,
        known=known,
    )


def pop(queue: str, at: float, *numbers: int, known: bool = True) -> Take:
    messages = [(one(number), f"body {number}") for number in numbers]
    return Take(
        queue=queue,
        limit=2,
        is_claim=False,
        messages=messages,
        sent=at,
        ended=at + 0.1,
        known=known,
    )


def deletion(at: float, number: int, *, known: bool = True) -> Deletion:
    return Deletion(message_id=one(number), sent=at, ended=at + 0.1, known=known)


def found(queue: str, number: int) -> Found:
    return Found(queue=queue, id=one(number), body=f"body {number}")


def honest() -> History:
    """Messages 1 to 3 worked on, 4 popped, 5 and 6 left, 7 dead-lettered, 8 purged."""
    return History(
        posts=[
            post("work", 0, 1, 2),
            post("work", 1, 3),
            post("pop", 2, 4),
            post("work", 3, 5, 6, key="k"),
            post("tired", 4, 7),
            post("purged", 5, 8),
        ],
        takes=[
            claim("work", 10, "c1", 1, 2),
            claim("work", 10.2, "c2", 3),
            pop("pop", 11, 4),
            claim("work", 20, "c3", 2),
            claim("tired", 21, "c4", 7),
            claim("graves", 31, "c5", 7),
        ],
        renewals=[Renewal(claim_id="c2", ttl=60, sent=15, ended=15.1, known=True)],
        releases=[
            Release(claim_id="c1", sent=19, ended=19.1, known=True),
            Release(claim_id="c4", sent=30, ended=30.1, known=True),
        ],
        deletions=[deletion(12, 1), deletion(22, 2), deletion(23, 3)],
        purges=[Purge(queue="purged", sent=40, ended=40.1, known=True)],
        found=[found("work", 5), found("work", 6), found("graves", 7)],
    )


def test_an_honest_history_passes() -> None:
    report = judge(honest())
    assert report.problems == []
    assert (report.attempts, report.acknowledged, report.ok) == (8, 8, 8)
    assert (report.lost, report.unexpected, report.recovered) == (0, 0, 0)
    assert report.duplicated == 2, "after the releases"


def without_a_message(history: History) -> None:
    history.found.remove(found("work", 6))


def without_what_a_purge_did_not_take(history: History) -> None:
    history.posts.append(post("purged", 50, 9))


def more_lost_than_blind_pops_took(history: History) -> None:
    history.posts += [post("pop", 60 + number, 10 + number) for number in range(3)]
    history.takes.append(pop("pop", 70, known=False))


@pytest.mark.parametrize(
    "lie", [without_a_message, without_what_a_purge_did_not_take, more_lost_than_blind_pops_took]
)
def test_a_lost_message_is_found(lie: Callable[[History], None]) -> None:
    history = honest()
    lie(history)
    report = judge(history)
    assert (report.lost, report.unexpected) == (1, 0)
    assert len(report.problems) == 1


def invented(history: History) -> None:
    history.found.append(found("work", 99))


def changed_on_the_way(history: History) -> None:
    history.takes.append(claim("work", 90, "c9"))
    history.takes[-1].messages = [(one(5), "another body")]


def in_two_live_claims(history: History) -> None:
    history.takes.append(claim("work", 13, "c9", 3))


def in_a_claim_that_was_renewed(history: History) -> None:
    history.deletions.remove(deletion(23, 3))
    history.takes.append(claim("work", 72, "c9", 3))
    history.found.insert(0, found("work", 3))


def delivered_after_its_deletion(history: History) -> None:
    history.takes.append(claim("work", 95, "c9", 3))


def delivered_after_its_pop(history: History) -> None:
    history.takes.append(pop("pop", 95, 4))


def found_after_its_pop(history: History) -> None:
    history.found.append(found("pop", 4))


def found_after_the_purge(history: History) -> None:
    history.found.append(found("purged", 8))


def found_in_two_queues(history: History) -> None:
    history.found.append(found("tired", 7))


def back_from_the_dead(history: History) -> None:
    history.releases.append(Release(claim_id="c5", sent=32, ended=32.1, known=True))
    history.takes.append(claim("tired", 33, "c9", 7))


def a_key_stored_twice(history: History) -> None:
    history.posts.append(post("work", 2.5, 5, 6, known=False, key="k"))
    history.found += [
        Found(queue="work", id=one(20), body="body 5"),
        Found(queue="work", id=one(21), body="body 6"),
    ]


def stored_more_often_than_sent(history: History) -> None:
    history.found.append(Found(queue="work", id=one(20), body="body 3"))


def part_of_a_batch(history: History) -> None:
    history.posts.append(post("work", 50, 30, 31, known=False))
    history.found.append(found("work", 31))


def out_of_order_in_a_claim(history: History) -> None:
    history.takes[0].messages.reverse()


def out_of_order_in_the_walk(history: History) -> None:
    history.found[0:2] = [found("work", 6), found("work", 5)]


def a_later_post_in_front(history: History) -> None:
    history.posts[1].ids = [one(0)]
    history.takes[1].messages = [(one(0), "body 3")]
    history.deletions[2].message_id = one(0)


def overtaken(history: History) -> None:
    history.takes[0].messages = [(one(1), "body 1")]


@pytest.mark.parametrize(
    "lie",
    [
        invented,
        changed_on_the_way,
        in_two_live_claims,
        in_a_claim_that_was_renewed,
        delivered_after_its_deletion,
        delivered_after_its_pop,
        found_after_its_pop,
        found_after_the_purge,
        found_in_two_queues,
        back_from_the_dead,
        a_key_stored_twice,
        stored_more_often_than_sent,
        part_of_a_batch,
        out_of_order_in_a_claim,
        out_of_order_in_the_walk,
        a_later_post_in_front,
        overtaken,
    ],
)
def test_what_has_no_reason_is_found(lie: Callable[[History], None]) -> None:
    history = honest()
    lie(history)
    report = judge(history)
    assert report.unexpected >= 1
    assert report.lost == 0
    assert len(report.problems) == report.unexpected


def test_what_was_never_acknowledged_may_be_there_or_not() -> None:
    history = honest()
    history.posts += [
        post("work", 50, 30, 31, known=False),
        post("work", 51, 30, 31, known=False),
        post("work", 52, 40, known=False),
    ]
    history.found += [found("work", 30), found("work", 31)]
    report = judge(history)
    assert report.problems == []
    assert (report.acknowledged, report.recovered) == (8, 2)


def test_a_pop_without_an_answer_may_have_taken_what_it_asked_for() -> None:
    history = honest()
    history.posts += [post("pop", 60, 10), post("pop", 61, 11)]
    history.takes.append(pop("pop", 70, known=False))
    assert judge(history).problems == []


def test_an_expired_claim_explains_a_second_delivery() -> None:
    history = honest()
    history.takes.append(claim("work", 90, "c8", 5))
    history.takes.append(claim("work", 151, "c9", 5))
    report = judge(history)
    assert report.problems == []
    assert report.duplicated == 3
