"""What options say about a webhook, and how its requests are signed."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuska.domain.errors import InvalidInput
from nuska.domain.moments import Moment
from nuska.domain.webhooks import (
    MAX_HEADER,
    MAX_HEADERS,
    MAX_POST_DATA,
    WebhookOptions,
    parse_secret,
    parse_webhook_options,
    refusal,
    signature,
    with_kept_secrets,
    without_secrets,
    written_secret,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = written_secret(b"o" * 32)
OURS = ["Host", "HOST", "content-length", "Connection", "Transfer-Encoding", "TE", "Trailer"]
OURS += ["Upgrade", "Expect", "Proxy-Authorization", "Keep-Alive"]
NOW = Moment(1_614_265_330_000)


def test_options_without_a_word_about_webhooks_say_nothing() -> None:
    assert parse_webhook_options({}) == WebhookOptions()
    assert parse_webhook_options({"trust_id": "x", "post_data": None}) == WebhookOptions()


def test_headers_data_and_secrets_are_taken_as_they_are() -> None:
    options = parse_webhook_options(
        {
            "post_headers": {"X-Source": "queue", "Content-Type": "text/plain"},
            "post_data": '{"a": "$zaqar_message$"}',
            "signing_secrets": [SECRET, OTHER],
        }
    )
    assert options.headers == (("X-Source", "queue"), ("Content-Type", "text/plain"))
    assert options.data == '{"a": "$zaqar_message$"}'
    assert options.secrets == (parse_secret(SECRET), b"o" * 32)


@pytest.mark.parametrize(
    "options",
    [
        *({"post_headers": {name: "x"}} for name in OURS),
        {"post_headers": {"Webhook-Signature": "v1,x"}},
        {"post_headers": {"": "x"}},
        {"post_headers": {"X Y": "x"}},
        {"post_headers": {"X:Y": "x"}},
        {"post_headers": {"X\r\nY": "x"}},
        {"post_headers": {"X": "a\r\nHost: b"}},
        {"post_headers": {"X": "a\nb"}},
        {"post_headers": {"X": "\u20ac"}},
        {"post_headers": {"X": 1}},
        {"post_headers": {"X": None}},
        {"post_headers": {"X": "x" * (MAX_HEADER + 1)}},
        {"post_headers": {f"X-{number}": "x" for number in range(MAX_HEADERS + 1)}},
        {"post_headers": []},
        {"post_data": {}},
        {"post_data": ""  + "x" * (MAX_POST_DATA + 1)},
        {"post_data": "x", "post_format": "cloudevents"},
        {"post_format": "xml"},
        {"post_format": []},
        {"signing_secrets": []},
        {"signing_secrets": SECRET},
        {"signing_secrets": [SECRET, SECRET, SECRET]},
        {"signing_secrets": ["whsec_short"]},
        {"signing_secrets": ["whsec_" + "!" * 40]},
        {"signing_secrets": ["***"]},
        {"signing_secrets": [1]},
        {"signing_secrets": ["whsec_" + base64.b64encode(b"x" * 65).decode()]},
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_without_a_secret(options: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_webhook_options(options)
    assert "whsec_short" not in refused.value.description
    assert "whsec_Mf" not in refused.value.description


def signed(secrets: list[str], body: bytes) -> dict[str, str]:
    event, timestamp = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330
    keys = [parse_secret(secret) for secret in secrets]
    return {
        "webhook-id": event,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(keys, event, timestamp, body),
    }


def test_the_signature_is_that_of_the_standard() -> None:
    # The example of the Standard Webhooks libraries.
    assert signed([SECRET], b'{"test": 2432232314}')["webhook-signature"] == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_during_a_rotation_either_secret_fits() -> None:
    headers = signed([SECRET, OTHER], b"{}")
    for secret in (SECRET, OTHER):
        assert refusal([parse_secret(secret)], headers, b"{}", now=NOW) is None
    assert refusal([b"x" * 32], headers, b"{}", now=NOW) is not None


@pytest.mark.parametrize(
    ("changed", "body", "now", "words"),
    [
        ({}, b"{ }", NOW, "No signature fits"),
        ({"webhook-id": "msg_other"}, b"{}", NOW, "No signature fits"),
        ({"webhook-timestamp": "1614265331"}, b"{}", NOW, "No signature fits"),
        ({"webhook-signature": "v1,"}, b"{}", NOW, "No signature fits"),
        ({"webhook-signature": "v1a,x \u00e9"}, b"{}", NOW, "No signature fits"),
        ({"webhook-timestamp": "soon"}, b"{}", NOW, "not a number"),
        ({"webhook-id": ""}, b"{}", NOW, "not signed"),
        ({}, b"{}", Moment(NOW + 301_000), "seconds old"),
        ({}, b"{}", Moment(NOW - 301_000), "ahead of time"),
    ],
)
def test_what_is_not_genuine_is_refused_with_the_reason(
    changed: dict[str, str], body: bytes, now: Moment, words: str
) -> None:
    headers = signed([SECRET], b"{}") | changed
    assert words in (refusal([parse_secret(SECRET)], headers, body, now=now) or "")


@given(
    st.binary(max_size=200), st.lists(st.binary(min_size=24, max_size=64), min_size=1, max_size=2)
)
def test_whatever_is_signed_is_believed(body: bytes, keys: list[bytes]) -> None:
    assert refusal(keys, signed([written_secret(key) for key in keys], body), body, now=NOW) is None


def test_secrets_are_never_shown_and_are_kept_when_they_come_back_hidden() -> None:
    stored: dict[str, object] = {"signing_secrets": [SECRET, OTHER], "post_data": "x"}
    shown = without_secrets(stored)
    assert shown == {"signing_secrets": ["***", "***"], "post_data": "x"}
    assert without_secrets({"a": 1}) == {"a": 1}
    assert with_kept_secrets(shown, stored) == stored
    rotated = with_kept_secrets({"signing_secrets": ["***", SECRET]}, stored)
    assert rotated == {"signing_secrets": [SECRET, SECRET]}
    assert with_kept_secrets({}, stored) == {}
