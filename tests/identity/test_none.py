"""No authentication: the caller is believed."""

import pytest

from nuska.identity.none import NoAuthentication
from nuska.interfaces.identity import Credentials

identify = NoAuthentication().identify


def test_the_project_and_the_roles_are_what_the_caller_says() -> None:
    verified = identify(Credentials(project="acme", roles="member"))
    assert (verified.project, verified.roles) == ("acme", frozenset({"member"}))
    assert (verified.user, verified.grant, verified.expires_at) == ("", None, None)


def test_an_empty_project_is_not_a_missing_one() -> None:
    assert identify(Credentials(project="")).project == ""
    assert identify(Credentials()).project is None


def test_what_others_would_have_to_verify_is_not_looked_at() -> None:
    assert identify(Credentials(token="t", key="k")).project is None


@pytest.mark.parametrize("text", ["admin", "member,admin", " Admin , x", "ADMIN"])
def test_roles_are_listed_by_commas_in_any_case(text: str) -> None:
    assert "admin" in identify(Credentials(project="acme", roles=text)).roles


@pytest.mark.parametrize("text", ["", " ", ",", "administrator", "not admin"])
def test_other_texts_name_no_admin(text: str) -> None:
    assert "admin" not in identify(Credentials(project="acme", roles=text)).roles


def test_credentials_are_not_shown() -> None:
    assert "hunter2" not in repr(Credentials(token="hunter2", key="hunter2"))
