"""The contract's signature."""

import pytest

from nuska.domain.moments import Moment
from nuska.domain.signing import Signer, expiry_text

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


def test_a_signer_does_not_show_its_key_and_has_one() -> None:
    assert "secret" not in repr(SIGNER)
    with pytest.raises(ValueError, match="empty"):
        Signer("")


def test_an_expiry_in_the_last_year_can_be_written() -> None:
    assert expiry_text(Moment(253_402_300_799_000)) == "9999-12-31T23:59:59"
