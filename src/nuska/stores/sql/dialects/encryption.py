"""The options of an address that say how a connection to a database is encrypted: ``ssl``, ``ca``,
``cert`` and ``key``, the same for every kind of server."""

import ssl
from collections.abc import Collection

from sqlalchemy import URL

from nuska.stores.encrypted import client_context

REQUIRE, VERIFY_CA, VERIFY_FULL = "require", "verify-ca", "verify-full"
ENCRYPTED = (REQUIRE, VERIFY_CA, VERIFY_FULL)
FILES = ("ca", "cert", "key")
OPTIONS = frozenset({"ssl", *FILES})


def check_encryption(url: URL, others: Collection[str]) -> None:
    """Raise ``ValueError`` for what an address may not say; ``others``: modes that do not insist
    on encryption."""
    mode = url.query.get("ssl")
    modes = {*ENCRYPTED, *others}
    if mode is not None and mode not in modes:
        raise ValueError(f"ssl must be one of {', '.join(sorted(modes))}")
    if mode not in ENCRYPTED and any(name in url.query for name in FILES):
        raise ValueError(f"ca, cert and key need ssl={', ssl='.join(ENCRYPTED)}")
    if mode == REQUIRE and "ca" in url.query:
        raise ValueError("ssl=require checks nobody, so ca needs ssl=verify-ca or ssl=verify-full")
    if "key" in url.query and "cert" not in url.query:
        raise ValueError("key needs cert")


def encryption(url: URL) -> ssl.SSLContext | None:
    """How to encrypt, and whom to believe; None where the address does not insist on it.

    Raises ``ValueError`` when a file cannot be used.
    """
    options = {name: str(value) for name, value in url.query.items()}
    mode = options.get("ssl")
    if mode not in ENCRYPTED:
        return None
    return client_context(
        ca=options.get("ca"),
        cert=options.get("cert"),
        key=options.get("key"),
        checks_certificate=mode != REQUIRE,
        checks_name=mode == VERIFY_FULL,
    )
