"""The one table from errors to statuses."""

from http import HTTPStatus

import pytest

from nuska.domain import errors
from nuska.transport.wire.errors import STATUS, body_of, status_of


def test_every_error_family_has_a_status() -> None:
    assert set(errors.NuskaError.__subclasses__()) == set(STATUS)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidBody("x"), 400),
        (errors.InvalidParameter("x"), 400),
        (errors.InvalidHeader("title", "x"), 400),
        (errors.NotTheClaim("x"), 400),
        (errors.NotAuthenticated("x"), 401),
        (errors.MessageClaimed("x"), 403),
        (errors.NotFound("x"), 404),
        (errors.Conflict("x"), 409),
        (errors.Unavailable("x"), 503),
    ],
)
def test_a_narrower_error_has_the_status_of_its_family(
    error: errors.NuskaError, status: int
) -> None:
    assert status_of(error) == status


def test_an_unknown_error_is_answered_as_a_bug() -> None:
    assert status_of(ZeroDivisionError()) is HTTPStatus.INTERNAL_SERVER_ERROR


def test_a_body_has_title_and_description() -> None:
    assert body_of(errors.NotFound("No such thing.")) == (
        b'{"title": "Not found", "description": "No such thing."}'
    )
