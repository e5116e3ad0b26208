"""What an operator wrote that cannot all be true, or be used."""

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from nuska.addresses import parse_address
from nuska.delivery.senders import mail_settings
from nuska.delivery.senders.mail_settings import MailSettings
from nuska.domain.egress import parse_networks
from nuska.domain.limits import Limits
from nuska.settings import auth
from nuska.settings.auth import AuthSettings
from nuska.settings.fields import FIELDS, values_of
from nuska.settings.limits import LIMIT_RANGES, PAIRS_IN_ORDER


def contradictions(merged: Mapping[str, object]) -> Iterable[str]:
    """One sentence for each; ``merged`` is what was written, without defaults."""
    limits = {name: merged.get(name, getattr(Limits(), name)) for name in LIMIT_RANGES}
    for low, high in PAIRS_IN_ORDER:
        if limits[low] > limits[high]:  # type: ignore[operator]  # both are integers
            yield f"{low} ({limits[low]}) is more than {high} ({limits[high]})"
    if merged.get("role") == "delivery" and merged.get("workers", 1) != 1:
        yield "workers serve clients, which the role delivery does not: leave them at 1"
    yield from _cannot_be_reached(merged)
    yield from _cannot_be_trusted(merged)
    yield from auth.problems(AuthSettings(**values_of(AuthSettings, merged)))
    yield from mail_settings.problems(MailSettings(**values_of(MailSettings, merged)))
    for name in ("listen", "metrics", "websocket_listen"):
        text = str(merged.get(name, FIELDS[name].default))
        if text and not (name == "metrics" and text in {"path", "off"}):
            try:
                parse_address(text)
            except ValueError as error:
                more = "; path and off are possible, too" if name == "metrics" else ""
                yield f"{name}: {error}{more}"


def _cannot_be_trusted(merged: Mapping[str, object]) -> Iterable[str]:
    if bool(merged.get("tls_certificate")) != bool(merged.get("tls_key")):
        yield "tls_certificate and tls_key: one needs the other"
    origins = merged.get("cors_origins", ())
    assert isinstance(origins, tuple), "as its type says"
    for origin in origins:
        if origin == "*":
            if merged.get("auth_strategy", "none") == "none":
                yield "cors_origins: without authentication any page could do anything"
            continue
        split = urlsplit(origin)
        if split.scheme not in ("http", "https") or origin != f"{split.scheme}://{split.netloc}":
            yield f"cors_origins: {origin!r} is not an origin such as https://console.example.net"


def _cannot_be_reached(merged: Mapping[str, object]) -> Iterable[str]:
    public = urlsplit(str(merged.get("public_url", "")))
    if merged.get("public_url") and (
        public.scheme not in ("http", "https")
        or not public.hostname
        or public.username is not None
        or public.query
        or public.fragment
    ):
        yield "public_url: this is not a URL such as https://mq.example.net"
    try:
        parse_networks(tuple(merged.get("allowed_networks", ())))  # type: ignore[arg-type]
    except ValueError as error:
        yield f"allowed_networks: {error}"
