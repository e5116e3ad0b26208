"""Nothing near a signed request passes the desk."""

import pytest
from msgspec.structs import replace

from nuska.core.signatures import SignatureDesk
from nuska.domain.moments import Moment
from nuska.domain.signing import SignedTerms, Signer, signature_of
from nuska.testing.clock import ManualClock

PROJECT = "7f9c1a2b3d4e5f60718293a4b5c6d7e8"
EXPIRES = Moment(1_930_367_167_000)  # 2031-03-04T05:06:07Z
ORDERS = "/v2/queues/orders"
CONFIRM = f"{ORDERS}/subscriptions/9b2d6f0e-1c34-4a5b-8c7d-0e1f2a3b4c5d/confirm"
SIGNER = Signer("nuska-demo-secret")
GOOD = SIGNER.sign(paths=(CONFIRM,), methods=("PUT",), project=PROJECT, expires_at=EXPIRES)
BEFORE = Moment(EXPIRES - 1)


def served(
    terms: SignedTerms, *, method: str, path: str, now: Moment, signer: Signer = SIGNER
) -> bool:
    """Twice the same, the second time from memory."""
    desk = SignatureDesk(signer, ManualClock(now), None)
    first, second = (desk.look_at(terms, method=method, path=path) for _ in range(2))
    assert first == second
    return first is not None


def test_what_was_signed_is_good_until_it_expires() -> None:
    assert served(GOOD, method="PUT", path=CONFIRM, now=BEFORE)
    assert not served(GOOD, method="PUT", path=CONFIRM, now=EXPIRES)


@pytest.mark.parametrize("method", ["GET", "put", "POST", ""])
def test_no_other_method_is_good(method: str) -> None:
    assert not served(GOOD, method=method, path=CONFIRM, now=BEFORE)


def test_a_path_is_good_when_it_is_signed_or_lies_below_one_that_is() -> None:
    terms = SIGNER.sign(
        paths=(f"{ORDERS}/messages", "/v2/queues/a.b/claims"),
        methods=("GET",),
        project=PROJECT,
        expires_at=EXPIRES,
    )
    good = [f"{ORDERS}/messages", f"{ORDERS}/messages/1", "/v2/queues/a.b/claims/c"]
    bad = [
        ORDERS,
        f"{ORDERS}/messagesx",
        f"{ORDERS}/claims",
        f"/v2{ORDERS}/messages",
        f"{ORDERS}/message",
        "/v2/queues/aXb/claims",
        "/v2/queues/orders2/messages",
        "",
        "/",
    ]
    for path in good:
        assert served(terms, method="GET", path=path, now=BEFORE), path
    for path in bad:
        assert not served(terms, method="GET", path=path, now=BEFORE), path


@pytest.mark.parametrize(
    "changes",
    [
        {"signature": ""},
        {"signature": GOOD.signature.upper()},
        {"signature": GOOD.signature[:-1] + ("0" if GOOD.signature[-1] != "0" else "1")},
        {"signature": "é" * 64},
        {"project": None},
        {"project": "other"},
        {"project": PROJECT.upper()},
        {"expires": "2031-03-04T05:06:08"},
        {"expires": "2031-03-04 05:06:07"},
        {"expires": "2031-03-04T05:06:07Z"},
        {"expires": ""},
        {"methods": ("PUT", "GET")},
        {"methods": ()},
        {"methods": (" PUT",)},
        {"paths": (CONFIRM, ORDERS)},
        {"paths": (f"{ORDERS}/subscriptions",)},
        {"paths": ("",)},
        {"paths": ()},
    ],
)
def test_nothing_that_differs_from_what_was_signed_is_good(changes: dict[str, object]) -> None:
    assert not served(replace(GOOD, **changes), method="PUT", path=CONFIRM, now=BEFORE)


def test_another_key_is_another_signature() -> None:
    assert not served(GOOD, method="PUT", path=CONFIRM, now=BEFORE, signer=Signer("another-secret"))


def test_an_unreadable_expiry_is_not_good_even_when_it_was_signed() -> None:
    for expires in ("9" * 19, "2031-13-04T05:06:07", "never"):
        signature = signature_of(b"nuska-demo-secret", (CONFIRM,), ("PUT",), PROJECT, expires, "")
        terms = replace(GOOD, expires=expires, signature=signature)
        assert not served(terms, method="PUT", path=CONFIRM, now=BEFORE)
