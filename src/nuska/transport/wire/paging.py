"""Links of listings: relative, below ``/v2/``, and repeating what the client asked (K3, K8)."""

from collections.abc import Mapping
from urllib.parse import urlencode

from nuska.transport.wire.json import encode

NO_LINKS = b'"links": []'


def next_link(path: str, asked: Mapping[str, str], marker: str) -> bytes:
    """The ``links`` of a page that is not empty, also of the last one."""
    href = f"{path}?{urlencode({**asked, 'marker': marker})}"
    return b'"links": ' + encode([{"rel": "next", "href": href}])


def flag(value: bool) -> str:
    """A boolean as hrefs show it."""
    return "true" if value else "false"
