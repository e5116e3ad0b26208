"""Which addresses the service may call on behalf of its users (contract quirks S9).

A subscriber is judged twice. When it is named, only by what it says: scheme, credentials,
port, and an address in any notation; no DNS is asked, for what a name means today it need not
mean tomorrow. And when a connection is made, by the very address that is about to be called
(``judge_address``). Nothing here opens a connection or resolves a name.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from msgspec import Struct
from yarl import URL

from nuska.domain.errors import InvalidInput

IpAddress = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL = 2048
"""Characters of a webhook's URL."""
MAX_HOST = 253
"""Characters of a host name (RFC 1035)."""

# Everything that IANA's registries of special-purpose addresses do not call globally reachable,
# and what clouds answer their own machines at.
_FORBIDDEN_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "168.63.129.16/32",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
_FORBIDDEN_V6 = tuple(
    map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "2620:4f:8000::/48"))
)
"""Within the global ones: Teredo and its neighbours, documentation, 6to4."""
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")

# Ports of services that take text from anybody: those that browsers refuse (WHATWG fetch), and
# stores of data that run without a password.
_FORBIDDEN_PORTS = frozenset(
    (
        *(0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95),
        *(101, 102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179),
        *(389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601),
        *(636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000),
        *(6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080),
        *(2375, 2379, 3306, 5432, 6379, 11211, 26379, 27017),
    )
)

_SCHEMES = ("https", "http")
_TRUST = "trust+"
_PRINTABLE = re.compile(r"[^\x00-\x20\x7f\\]+")
_HOST = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?"
)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LOCAL_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")

PRIVATE = (
    "lies in a private, local or reserved network that this service does not call; "
    "an operator can allow a network"
)


class WebhookUrl(Struct, frozen=True, kw_only=True):
    """A URL that may be called, as far as that can be told from the text."""

    url: str
    """As it is called: ASCII, without a fragment and without ``trust+``."""
    host: str
    """Lower case; an address without brackets."""
    port: int
    endpoint: str
    """Scheme, host and port: what fails together, and may be shown."""
    authority: str
    """The host as ``Host`` names it, with the port where it is not the usual one."""
    target: str
    """Path and query, as a request names them."""
    tls: bool
    trust: bool
    """With a token of Keystone."""


class EgressPolicy(Struct, frozen=True, kw_only=True):
    """What an operator allows. The default: every public address, no other."""

    allowed: tuple[Network, ...] = ()
    """Networks that may be called although they are private."""
    loopback: bool = False
    """This machine may be called: for a server that is open to this machine alone."""

    def judge_address(self, address: str | IpAddress) -> str | None:
        """Why ``address`` must not be called, as the end of a sentence; None when it may be."""
        try:
            ip = ip_address(address)
        except ValueError:
            return "is not an address that can be judged"
        if isinstance(ip, IPv6Address) and ip.scope_id is not None:
            return "has a zone, so it is local"
        inner = _inner(ip)
        if any(each.version == ip.version and ip in each for each in self.allowed):
            return None
        if any(each.version == inner.version and inner in each for each in self.allowed):
            return None
        if self.loopback and inner.is_loopback:
            return None
        return PRIVATE if _is_special(inner) else None

    def judge_host(self, host: str) -> str | None:
        """The same for a host as it stands in a URL; a name is not resolved."""
        if ":" in host or _ends_in_number(host):
            return self.judge_address(host)
        name = host.rstrip(".")
        if name in _LOCAL_NAMES or name.endswith(".localhost"):
            return self._judge_local_name()
        return None

    def _judge_local_name(self) -> str | None:
        here = (self.judge_address("127.0.0.1"), self.judge_address("::1"))
        return None if None in here else PRIVATE


def parse_networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """An operator's list of networks: ``10.1.0.0/16``, ``192.0.2.7``, ``fd00::/8``. Raises
    ``ValueError`` with a sentence that names the one that is none."""
    networks = []
    for text in texts:
        try:
            networks.append(ip_network(text))
        except ValueError:
            raise ValueError(f"{text!r} is not a network, such as 10.1.0.0/16") from None
    return tuple(networks)


def judge_url(subscriber: str, policy: EgressPolicy) -> WebhookUrl:
    """The URL of a webhook, with or without ``trust+``. ``InvalidInput``, in words that repeat
    nothing secret, when it must not be called or cannot be understood in one way only."""
    if len(subscriber) > MAX_URL:
        raise InvalidInput(f"The subscriber is too long: {MAX_URL} characters is the limit.")
    if not _PRINTABLE.fullmatch(subscriber):
        raise InvalidInput("The subscriber has a blank, a backslash or a control character in it.")
    trust = subscriber[: len(_TRUST)].lower() == _TRUST
    text = subscriber[len(_TRUST) :] if trust else subscriber
    scheme, colon, rest = text.partition("://")
    if not colon or scheme.lower() not in _SCHEMES:
        raise InvalidInput("The subscriber must begin with http:// or https://.")
    _refuse_odd_authority(re.split(r"[/?#]", rest, maxsplit=1)[0])
    url, host, port = _parsed(text)
    _judge_host_and_port(host, port, policy)
    shown = f"[{host}]" if ":" in host else host
    return WebhookUrl(
        url=str(url.with_fragment(None)),
        host=host,
        port=port,
        endpoint=f"{url.scheme}://{shown}:{port}",
        authority=shown.rstrip(".") + ("" if url.is_default_port() else f":{port}"),
        target=url.raw_path_qs,
        tls=url.scheme == "https",
        trust=trust,
    )


def _refuse_odd_authority(authority: str) -> None:
    """Refuse what different programs read differently, or should not be stored at all."""
    if not authority:
        raise InvalidInput("The subscriber names no host.")
    if "@" in authority:
        raise InvalidInput(
            "The subscriber must not carry a user name or password; "
            "use a header in options.post_headers."
        )
    if "%" in authority:
        raise InvalidInput("The subscriber's host must be written plainly, without '%'.")
    if authority.endswith(":"):
        raise InvalidInput("The subscriber has a colon after its host, but no port.")


def _parsed(text: str) -> tuple[URL, str, int]:
    """The URL as the HTTP client will read it; what the judge sees is what is called."""
    try:
        url = URL(text)
        host, port = (url.raw_host or "").lower(), url.port
        str(url).encode("ascii")
    except ValueError:  # also UnicodeError: a name that has no form in DNS
        raise InvalidInput("The subscriber is not a URL that can be called.") from None
    if not host or port is None:
        raise InvalidInput("The subscriber names no host.")
    if ":" not in host and not (len(host) <= MAX_HOST and _HOST.fullmatch(host)):
        raise InvalidInput("The subscriber's host is not a name that DNS could have.")
    return url, host, port


def _judge_host_and_port(host: str, port: int, policy: EgressPolicy) -> None:
    if ":" not in host and _ends_in_number(host) and not _is_plain_v4(host):
        raise InvalidInput(
            "The subscriber's host looks like an address in an unusual form; "
            "write four decimal numbers, such as 192.0.2.7."
        )
    if port in _FORBIDDEN_PORTS:
        raise InvalidInput(f"The subscriber's port {port} belongs to a service that is no webhook.")
    reason = policy.judge_host(host)
    if reason is not None:
        raise InvalidInput(f"The subscriber's address {reason}.")


def _ends_in_number(host: str) -> bool:
    """Whether programs may take the host for an IPv4 address, in whatever notation."""
    return _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]) is not None


def _is_plain_v4(host: str) -> bool:
    try:
        return str(IPv4Address(host)) == host
    except ValueError:
        return False


def _inner(ip: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 address stands for where the network translates it."""
    if isinstance(ip, IPv6Address) and (ip in _MAPPED or ip in _NAT64):
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip


def _is_special(ip: IpAddress) -> bool:
    if isinstance(ip, IPv4Address):
        return any(ip in network for network in _FORBIDDEN_V4)
    return ip not in _GLOBAL_V6 or any(ip in network for network in _FORBIDDEN_V6)
