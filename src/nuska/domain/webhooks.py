"""What a subscription's options say about its webhook: headers, body, form and signatures.

Says what may stand there, once for those who store options and for those who send. Sends
nothing; keys that mean nothing here are left alone.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Literal, get_args

from msgspec import Struct

from nuska.domain.errors import InvalidInput
from nuska.domain.moments import Moment

HEADERS_KEY = "post_headers"
DATA_KEY = "post_data"
FORMAT_KEY = "post_format"
SECRETS_KEY = "signing_secrets"

Format = Literal["zaqar", "cloudevents", "cloudevents-binary"]
FORMATS: tuple[Format, ...] = get_args(Format)

MAX_HEADERS = 32
MAX_HEADER = 4096
"""Characters of one header's value."""
MAX_POST_DATA = 32_768
"""Characters of a template."""
MAX_SECRETS = 2
"""The one in use, and the one before it or after it while receivers change over."""
SECRET_PREFIX = "whsec_"  # noqa: S105
MIN_SECRET = 24
MAX_SECRET = 64
"""Bytes of a secret once decoded (Standard Webhooks)."""
HIDDEN = "***"
"""What is shown in place of a secret."""
TOLERANCE = 300
"""Seconds by which a signature's timestamp may differ from the receiver's time."""

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        ID_HEADER,
        TIMESTAMP_HEADER,
        SIGNATURE_HEADER,
    }
)
"""They frame the request or prove who sent it; ``proxy-…`` belongs to them."""


class WebhookOptions(Struct, frozen=True, kw_only=True):
    headers: tuple[tuple[str, str], ...] = ()
    data: str | None = None
    """A template to be sent instead of the document."""
    format: Format = "zaqar"
    secrets: tuple[bytes, ...] = ()
    """Every one signs."""


def parse_webhook_options(options: Mapping[str, object]) -> WebhookOptions:
    """What ``options`` says about the webhook; ``InvalidInput``, without any secret, when it
    says what cannot be sent. null is "not set"."""
    data = options.get(DATA_KEY)
    if data is not None and not isinstance(data, str):
        raise InvalidInput(f"options.{DATA_KEY} must be a text.")
    if data is not None and len(data) > MAX_POST_DATA:
        raise InvalidInput(
            f"options.{DATA_KEY} is too long: {MAX_POST_DATA} characters is the limit."
        )
    form = _format(options.get(FORMAT_KEY))
    if data is not None and form != "zaqar":
        raise InvalidInput(f"options.{DATA_KEY} cannot be combined with options.{FORMAT_KEY}.")
    return WebhookOptions(
        headers=_headers(options.get(HEADERS_KEY)),
        data=data,
        format=form,
        secrets=parse_secrets(options.get(SECRETS_KEY)),
    )


def _format(value: object) -> Format:
    if value is None:
        return "zaqar"
    for known in FORMATS:
        if value == known:
            return known
    raise InvalidInput(f"options.{FORMAT_KEY} must be one of {', '.join(FORMATS)}.")


def _headers(value: object) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise InvalidInput(f"options.{HEADERS_KEY} must be a JSON object.")
    if len(value) > MAX_HEADERS:
        raise InvalidInput(f"options.{HEADERS_KEY} has too many: {MAX_HEADERS} is the limit.")
    headers = []
    for name, text in value.items():
        if not _TOKEN.fullmatch(name):
            raise InvalidInput(f"options.{HEADERS_KEY} has a name that no header can have.")
        if name.lower() in _OURS or name.lower().startswith("proxy-"):
            raise InvalidInput(f"options.{HEADERS_KEY} must not set {name}.")
        if not isinstance(text, str) or len(text) > MAX_HEADER or not _VALUE.fullmatch(text):
            raise InvalidInput(
                f"options.{HEADERS_KEY}: {name} must be a text of at most {MAX_HEADER} "
                "characters, without line breaks."
            )
        headers.append((name, text))
    return tuple(headers)


# Signatures (https://www.standardwebhooks.com, symmetric: v1)


def parse_secrets(value: object) -> tuple[bytes, ...]:
    """The keys in a list of one or two texts ``whsec_…``; none for null."""
    if value is None:
        return ()
    if not isinstance(value, list) or not 0 < len(value) <= MAX_SECRETS:
        raise InvalidInput(
            f"options.{SECRETS_KEY} must be a list of 1 to {MAX_SECRETS} texts {SECRET_PREFIX}…"
        )
    return tuple(parse_secret(each) for each in value)


def parse_secret(value: object) -> bytes:
    """The key in ``whsec_…``, or in the base64 alone."""
    problem = InvalidInput(
        f"A signing secret is {SECRET_PREFIX} and {MIN_SECRET} to {MAX_SECRET} bytes in base64."
    )
    if not isinstance(value, str):
        raise problem
    try:
        key = base64.b64decode(value.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise problem from None
    if not MIN_SECRET <= len(key) <= MAX_SECRET:
        raise problem
    return key


def written_secret(key: bytes) -> str:
    """A key as people pass it on."""
    return SECRET_PREFIX + base64.b64encode(key).decode()


def without_secrets(options: dict[str, object]) -> dict[str, object]:
    """``options`` as they are shown: how many secrets there are, and none of them."""
    secrets = options.get(SECRETS_KEY)
    if secrets is None:
        return options
    shown = [HIDDEN] * len(secrets) if isinstance(secrets, list) else HIDDEN
    return {**options, SECRETS_KEY: shown}


def with_kept_secrets(
    options: dict[str, object], before: Mapping[str, object]
) -> dict[str, object]:
    """``options`` in which whoever changed them left what ``without_secrets`` had shown: the
    secrets are those of ``before``, place by place."""
    given, kept = options.get(SECRETS_KEY), before.get(SECRETS_KEY)
    if not isinstance(given, list) or not isinstance(kept, list):
        return options
    filled = [
        kept[place] if each == HIDDEN and place < len(kept) else each
        for place, each in enumerate(given)
    ]
    return {**options, SECRETS_KEY: filled}


def signature(secrets: Sequence[bytes], event: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``: one ``v1,…`` for each secret."""
    signed = f"{event}.{timestamp}.".encode() + body
    return " ".join(f"v1,{_mac(secret, signed)}" for secret in secrets)


def _mac(secret: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(secret, signed, sha256)).decode()


def refusal(
    secrets: Sequence[bytes], headers: Mapping[str, str], body: bytes, *, now: Moment
) -> str | None:
    """Why a receiver must not believe this request, in a sentence; None when it is genuine.

    ``headers`` by their names in lower case.
    """
    event, written = headers.get(ID_HEADER), headers.get(TIMESTAMP_HEADER)
    signatures = headers.get(SIGNATURE_HEADER)
    if not event or not written or not signatures:
        return f"It is not signed: it lacks {ID_HEADER}, {TIMESTAMP_HEADER} or {SIGNATURE_HEADER}."
    if not (written.isascii() and written.isdigit() and len(written) <= 12):
        return f"{TIMESTAMP_HEADER} is not a number of seconds."
    age = now // 1000 - int(written)
    if abs(age) > TOLERANCE:
        direction = "old" if age > 0 else "ahead of time"
        return f"It is {abs(age)} seconds {direction}: {TOLERANCE} is the limit."
    signed = f"{event}.{written}.".encode() + body
    expected = [_mac(secret, signed).encode() for secret in secrets]
    given = [each.removeprefix("v1,") for each in signatures.split() if each.startswith("v1,")]
    # Every pair is compared, so that the time taken says nothing.
    matching = [hmac.compare_digest(each.encode(), mine) for each in given for mine in expected]
    return None if any(matching) else "No signature fits: another secret, or a changed body."
