"""No authentication: the caller is believed."""

import pytest

from nuska.identity.none import NoAuthentication

identify = NoAuthentication().identify


def test_the_project_comes_from_its_header() -> None:
    assert identify({b"x-project-id": b"acme"}) == ("acme", frozenset())


def test_tenant_headers_are_second_and_third_choice() -> None:
    assert identify({b"x-tenant-id": b"b", b"x-tenant": b"c"})[0] == "b"
    assert identify({b"x-tenant": b"c"})[0] == "c"
    assert identify({b"x-project-id": b"a", b"x-tenant-id": b"b"})[0] == "a"


def test_an_empty_project_is_not_a_missing_one() -> None:
    assert identify({b"x-project-id": b"", b"x-tenant-id": b"b"})[0] == ""
    assert identify({})[0] is None


@pytest.mark.parametrize("text", ["admin", "member,admin", " Admin , x", "ADMIN"])
def test_roles_are_listed_by_commas_in_any_case(text: str) -> None:
    assert "admin" in identify({b"x-roles": text.encode()})[1]


@pytest.mark.parametrize("text", ["", " ", ",", "administrator", "not admin"])
def test_other_texts_name_no_admin(text: str) -> None:
    assert "admin" not in identify({b"x-roles": text.encode()})[1]
