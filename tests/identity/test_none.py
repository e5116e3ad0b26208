"""No authentication: the caller is believed."""

import pytest

from nuska.identity.none import NoAuthentication

identify = NoAuthentication().identify


def test_the_project_comes_from_its_header() -> None:
    assert identify({"x-project-id": "acme"}) == ("acme", frozenset())


def test_tenant_headers_are_second_and_third_choice() -> None:
    assert identify({"x-tenant-id": "b", "x-tenant": "c"})[0] == "b"
    assert identify({"x-tenant": "c"})[0] == "c"
    assert identify({"x-project-id": "a", "x-tenant-id": "b"})[0] == "a"


def test_an_empty_project_is_not_a_missing_one() -> None:
    assert identify({"x-project-id": "", "x-tenant-id": "b"})[0] == ""
    assert identify({})[0] is None


@pytest.mark.parametrize("text", ["admin", "member,admin", " Admin , x", "ADMIN"])
def test_roles_are_listed_by_commas_in_any_case(text: str) -> None:
    assert "admin" in identify({"x-roles": text})[1]


@pytest.mark.parametrize("text", ["", " ", ",", "administrator", "not admin"])
def test_other_texts_name_no_admin(text: str) -> None:
    assert "admin" not in identify({"x-roles": text})[1]
