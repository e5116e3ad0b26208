"""The receiver's recipe on the page about webhooks, as it is written there."""

import re
import time
from pathlib import Path
from typing import Any

from nuska.domain.webhooks import parse_secret, signature

PAGE = Path(__file__).resolve().parents[2] / "docs" / "webhooks.md"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def headers(secret: str, body: bytes, at: int) -> dict[str, str]:
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(at),
        "webhook-signature": signature([b"o" * 32, parse_secret(secret)], "msg_1", at, body),
    }


def test_the_recipe_tells_a_genuine_request_from_others() -> None:
    [recipe] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    made: dict[str, Any] = {}
    exec(recipe, made)
    is_genuine, now = made["is_genuine"], int(time.time())
    assert is_genuine(SECRET, headers(SECRET, b"{}", now), b"{}")
    assert not is_genuine(SECRET, headers(SECRET, b"{}", now), b"{} ")
    assert not is_genuine(SECRET, headers("whsec_" + "a" * 32, b"{}", now), b"{}")
    assert not is_genuine(SECRET, headers(SECRET, b"{}", now - 400), b"{}")
