"""The contract's signature, and that nothing near a signed request passes."""

import pytest
from msgspec.structs import replace

from nuska.domain.moments import Moment
from nuska.domain.signing import Signer, expiry_text, signature_of

PROJECT = "7f9c1a2b3d4e5f60718293a4b5c6d7e8"
EXPIRES = Moment(1_930_367_167_000)  # 2031-03-04T05:06:07Z
ORDERS = "/v2/queues/orders"
CONFIRM = f"{ORDERS}/subscriptions/9b2d6f0e-1c34-4a5b-8c7d-0e1f2a3b4c5d/confirm"
SIGNER = Signer("nuska-demo-secret")


@pytest.mark.parametrize(
    ("paths", "methods", "project", "signature"),
    [
        (
            (f"{ORDERS}/messages",),
            ("GET",),
            PROJECT,
            "40e053117abe83e24259f42eb9561ddc29c2b07aeac68dadfef06c658722a783",
        ),
        (
            (f"{ORDERS}/messages", f"{ORDERS}/claims"),
            ("POST", "GET", "DELETE"),
            PROJECT,
            "cdd5def452e1844c45a309876a0aac3cc25cc849bb2b8825e633098f84557516",
        ),
        (
            (CONFIRM,),
            ("PUT",),
            PROJECT,
            "9dc4bc7fbb5a43fa01e91812ac475cf48e8571c7e402692e45581ff923dd993b",
        ),
        (
            (f"{ORDERS}/messages",),
            ("GET",),
            None,
            "90cf8fd470b020a87861e290ab4b4163ea84c20e3abacf724967fb73788c3d87",
        ),
    ],
)
def test_the_vectors_of_the_contract(
    paths: tuple[str, ...], methods: tuple[str, ...], project: str | None, signature: str
) -> None:
    terms = SIGNER.sign(paths=paths, methods=methods, project=project, expires_at=EXPIRES)
    assert terms.signature == signature
    assert terms.expires == "2031-03-04T05:06:07"
    assert (terms.paths, terms.methods) == (tuple(sorted(paths)), tuple(sorted(methods)))


GOOD = SIGNER.sign(paths=(CONFIRM,), methods=("PUT",), project=PROJECT, expires_at=EXPIRES)
BEFORE = Moment(EXPIRES - 1)


def test_what_was_signed_is_good_until_it_expires() -> None:
    assert SIGNER.verifies(GOOD, method="PUT", path=CONFIRM, now=BEFORE)
    assert not SIGNER.verifies(GOOD, method="PUT", path=CONFIRM, now=EXPIRES)


@pytest.mark.parametrize("method", ["GET", "put", "POST", ""])
def test_no_other_method_is_good(method: str) -> None:
    assert not SIGNER.verifies(GOOD, method=method, path=CONFIRM, now=BEFORE)


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
        assert SIGNER.verifies(terms, method="GET", path=path, now=BEFORE), path
    for path in bad:
        assert not SIGNER.verifies(terms, method="GET", path=path, now=BEFORE), path


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
    assert not SIGNER.verifies(replace(GOOD, **changes), method="PUT", path=CONFIRM, now=BEFORE)


def test_another_key_is_another_signature() -> None:
    assert not Signer("another-secret").verifies(GOOD, method="PUT", path=CONFIRM, now=BEFORE)


def test_an_unreadable_expiry_is_not_good_even_when_it_was_signed() -> None:
    for expires in ("9" * 19, "2031-13-04T05:06:07", "never"):
        signature = signature_of(b"nuska-demo-secret", (CONFIRM,), ("PUT",), PROJECT, expires, "")
        terms = replace(GOOD, expires=expires, signature=signature)
        assert not SIGNER.verifies(terms, method="PUT", path=CONFIRM, now=BEFORE)


def test_a_signer_does_not_show_its_key_and_has_one() -> None:
    assert "secret" not in repr(SIGNER)
    with pytest.raises(ValueError, match="empty"):
        Signer("")


def test_an_expiry_in_the_last_year_can_be_written() -> None:
    assert expiry_text(Moment(253_402_300_799_000)) == "9999-12-31T23:59:59"
