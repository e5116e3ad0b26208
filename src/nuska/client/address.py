"""Where a server is, as people write it.

    http://HOST:PORT[/PREFIX]            also https
    unix:/PATH/TO/SOCKET                 as `nuska serve --listen` takes it
    http+unix://%2FPATH%2FTO%2FSOCKET    the same with the path percent-encoded

A trailing slash, or a trailing ``/v2`` as endpoint catalogues have it, changes nothing.
"""

from dataclasses import dataclass
from urllib.parse import quote, unquote, urlencode, urlsplit

from yarl import URL

Query = dict[str, str | int | bool | None]
"""Query parameters; None leaves one out."""

_UNIX = "unix:"
_HTTP_UNIX = "http+unix"


@dataclass(frozen=True, slots=True)
class Address:
    """A server's base URL, and the socket that leads to it if it is not found by host."""

    base: str
    """Without a trailing slash."""
    socket_path: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Raises ``ValueError`` with a sentence that shows what is understood."""
        if text.startswith(_UNIX):
            path = text.removeprefix(_UNIX)
            path = "/" + path.lstrip("/") if path.startswith("//") else path
            return cls("http://localhost", _socket(text, path))
        parts = urlsplit(text)
        prefix = parts.path.rstrip("/").removesuffix("/v2").rstrip("/")
        if parts.scheme == _HTTP_UNIX:
            return cls(f"http://localhost{prefix}", _socket(text, unquote(parts.netloc)))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"not a server's address: {text!r}; "
                "expected http://HOST:PORT, https://HOST:PORT or unix:/PATH"
            )
        if parts.query or parts.fragment:
            raise ValueError(f"a server's address has no query and no fragment: {text!r}")
        return cls(f"{parts.scheme}://{parts.netloc}{prefix}")

    def url(self, href: str, query: Query | None = None) -> URL:
        """The URL of ``href``, a path that starts with ``/v2`` and may bring its own query."""
        wanted = {key: _text(value) for key, value in (query or {}).items() if value is not None}
        if wanted:
            href += ("&" if "?" in href else "?") + urlencode(wanted, safe=",")
        return URL(self.base + href, encoded=True)

    def __str__(self) -> str:
        return self.base if self.socket_path is None else f"{_UNIX}{self.socket_path}"


def segment(text: str) -> str:
    """``text`` as one segment of a path, whatever characters it has."""
    if not text:
        raise ValueError("a name or an id must not be empty")
    return quote(text, safe="")


def _text(value: str | int | bool | None) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _socket(text: str, path: str) -> str:
    if not path:
        raise ValueError(f"no socket path in {text!r}; expected unix:/PATH/TO/SOCKET")
    return path
