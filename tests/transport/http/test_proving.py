"""Who may see what lies beside the API: whoever may ask for the service's health."""

from http import HTTPStatus

import pytest

from nuska.core.access import Access
from nuska.interfaces.identity import Verified
from nuska.testing.tokens import DOWN, Tokens
from nuska.transport.http.proving import judge_by

ADMIN = frozenset({"admin"})


@pytest.mark.parametrize(
    ("token", "status"),
    [
        ("admin", HTTPStatus.OK),
        ("member", HTTPStatus.FORBIDDEN),
        ("nobody", HTTPStatus.UNAUTHORIZED),
        ("", HTTPStatus.UNAUTHORIZED),
        (DOWN, HTTPStatus.SERVICE_UNAVAILABLE),
        ("internal", HTTPStatus.BAD_REQUEST),
    ],
)
async def test_every_proof_has_its_answer(token: str, status: HTTPStatus) -> None:
    known = {
        "admin": Verified(project="shop", roles=ADMIN),
        "member": Verified(project="shop", roles=frozenset({"member"})),
        "internal": Verified(project="\x1fdead\x1fshop", roles=ADMIN),
    }
    judge = judge_by(Tokens(known), Access())
    assert await judge({b"x-auth-token": token.encode()}) == status
