"""How drivers encrypt what goes to a store: whom a URL says to believe, and who we say we are.

Files are read once, when a store is opened, so that one which cannot be used is said then. A
file of authorities stands instead of those that the system believes, never beside them.
"""

import ssl


def client_context(
    *,
    ca: str | None = None,
    cert: str | None = None,
    key: str | None = None,
    checks_certificate: bool = True,
    checks_name: bool = True,
) -> ssl.SSLContext:
    """TLS 1.2 or 1.3. ``cert`` and ``key``: files for a server that wants to know who asks.

    Raises ``ValueError`` when a file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
        if cert is not None:
            context.load_cert_chain(cert, key, password=_no_password)
    except OSError as error:
        raise ValueError(f"ca, cert or key cannot be used: {error.strerror or 'wrong'}") from error
    context.check_hostname = checks_certificate and checks_name
    if not checks_certificate:
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_password() -> bytes:
    """Nobody is asked on the terminal."""
    raise ValueError("ca, cert or key cannot be used: the key has a password")
