"""How room is given out to nodes: never more than there is, as far as the book says."""

from nuska.domain.allowances import Book, Lease, exceeded, give, lot, measured_anew, minus

BEGUN = Book(limits=(100, 1000), measured=(10, 100), given=(0, 0), before=(0, 0))


def test_a_lease_is_as_much_as_is_wanted_or_as_is_left() -> None:
    book, lease = give(BEGUN, (1, 10), (50, 50))
    assert lease == Lease(given=(50, 50))
    book, lease = give(book, (1, 10), (50, 50))
    assert lease == Lease(given=(40, 50))
    assert book.used == (100, 200)


def test_what_there_is_no_room_for_is_named_and_changes_nothing() -> None:
    assert give(BEGUN, (91, 1), (91, 1)) == (BEGUN, Lease(lacking=0, was_full=True))
    assert give(BEGUN, (1, 901), (1, 901)) == (BEGUN, Lease(lacking=1, was_full=True))
    assert give(BEGUN, (90, 900), (90, 900))[1] == Lease(given=(90, 900))


def test_room_that_was_only_given_away_is_told_from_room_that_is_used() -> None:
    given_away, _ = give(BEGUN, (90, 0), (90, 0))
    assert give(given_away, (1, 0), (1, 0))[1] == Lease(lacking=0)
    assert give(given_away, (91, 0), (91, 0))[1] == Lease(lacking=0, was_full=True)


def test_where_there_is_no_limit_nothing_is_counted() -> None:
    book = Book(limits=(None, 5), measured=(0, 0), given=(0, 0), before=(0, 0))
    assert give(book, (0, 5), (7, 9))[1] == Lease(given=(0, 5))


def test_who_wants_nothing_of_a_kind_is_not_refused_for_it() -> None:
    full = Book(limits=(10, 10), measured=(10, 3), given=(0, 0), before=(0, 0))
    assert exceeded(full.used, (0, 7), full.limits) is None
    assert exceeded(full.used, (1, 7), full.limits) == 0


def test_what_was_given_while_somebody_measured_counts_beside_what_he_found() -> None:
    before = BEGUN.given
    during, _ = give(BEGUN, (20, 20), (20, 20))
    anew = measured_anew(during, (100, 1000), (5, 50), before)
    assert anew.used == (25, 70)
    assert measured_anew(anew, (100, 1000), (5, 50), anew.given).used == (5, 50)


def test_the_first_book_says_what_was_measured() -> None:
    assert measured_anew(None, (3,), (2,), (0,)).used == (2,)


def test_a_lot_is_a_share_of_the_limit_or_as_much_as_is_wanted() -> None:
    assert lot((1000, None), (3, 0)) == (10, 0)
    assert lot((100,), (20,)) == (20,)


def test_nothing_is_ever_less_than_nothing() -> None:
    assert minus((3, 1), (1, 3)) == (2, 0)
