"""Everything an operator can choose: the top of the file, and the tables below it.

A table is a struct of its own, beside what it is about; here it is given its name.
"""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from nuska.addresses import Address, TcpAddress, parse_address
from nuska.core.live_bounds import LiveBounds
from nuska.delivery.bounds import DeliveryBounds
from nuska.delivery.senders.mail_settings import MailSettings
from nuska.domain.limits import Limits
from nuska.settings.auth import AuthSettings
from nuska.settings.quotas import QuotaSettings
from nuska.transport.server.bounds import Bounds
from nuska.transport.server.socket_bounds import SocketBounds


class Settings(Struct, frozen=True, kw_only=True):
    """Everything an operator can choose."""

    listen: Annotated[
        str, Meta(description="`HOST:PORT` (an IPv6 host in brackets) or `unix:PATH`.")
    ] = "127.0.0.1:8888"
    bind: Annotated[str | None, Meta(description="Zaqar's name for the host half of `listen`.")] = (
        None
    )
    port: Annotated[
        Annotated[int, Meta(ge=0, le=65_535)] | None,
        Meta(description="Zaqar's name for the port half of `listen`."),
    ] = None
    websocket_listen: Annotated[
        str,
        Meta(
            description="A second address, for [WebSockets](websocket.md) alone, such as "
            "`127.0.0.1:9000`. They are always taken at `listen`, too."
        ),
    ] = ""
    workers: Annotated[
        int,
        Meta(
            ge=1,
            le=256,
            description="Processes that serve the address together; more than one needs a store "
            "that [nodes share](nodes.md).",
        ),
    ] = 1
    role: Annotated[
        Literal["all", "api", "delivery"],
        Meta(
            description="`api`: serves clients and leaves background work to others; `delivery`: "
            "does background work and serves no clients; `all`: both. See [Many nodes](nodes.md)."
        ),
    ] = "all"
    store: Annotated[
        str,
        Meta(
            description="Where messages live: `sqlite:` (in the data directory), "
            "`sqlite:///absolute/path`, `memory:` (gone when the server stops), "
            "`redis://host`, `redis+cluster://host,host`, `redis+sentinel://host,host/service` "
            "(see [Redis](redis.md)), `postgresql://host/database` "
            "(see [PostgreSQL](postgresql.md)), "
            "`mariadb://host/database` (see [MariaDB](mysql.md)), "
            "`mongodb://host/database?replicaSet=name` (see [MongoDB](mongodb.md))."
        ),
    ] = "sqlite:"
    require_durability: Annotated[
        Literal["none", "fsync", "majority"],
        Meta(
            description="Refuse to start unless an acknowledged write has been synced to disk "
            "(`fsync`), and received by most of the servers that keep a copy (`majority`, on "
            "Redis)."
        ),
    ] = "none"
    enable_virtual_pool: Annotated[
        bool,
        Meta(
            description="With pooling, a queue for which there is no pool lies in `store`. Zaqar's "
            "default is false: there such a queue cannot be created."
        ),
    ] = True
    data: Annotated[
        str,
        Meta(
            description="Data directory. Empty: `$XDG_DATA_HOME/nuska`, "
            "which usually is `~/.local/share/nuska`."
        ),
    ] = ""
    tls_certificate: Annotated[
        str,
        Meta(
            description="A file with the server's certificate and those that vouch for it (PEM). "
            "With it every address is spoken to by TLS only; a new file is noticed."
        ),
    ] = ""
    tls_key: Annotated[
        str, Meta(description="The file with the certificate's key, without a password.")
    ] = ""
    cors_origins: Annotated[
        tuple[str, ...],
        Meta(
            description="Web pages that may use the API from browsers, such as "
            "`https://console.example.net`; `*` for all, where callers prove who they are."
        ),
    ] = ()
    audit_log: Annotated[
        str,
        Meta(
            description="Where changes and refusals are written down, a JSON line for each: a "
            "file, `stderr`, or nowhere. See [Operating](operating.md)."
        ),
    ] = ""
    audit_messages: Annotated[
        bool, Meta(description="Write down posts, claims and deletes of messages, too.")
    ] = False
    insecure_open: Annotated[
        bool,
        Meta(description="Run without authentication on an address that others can reach."),
    ] = False
    allowed_hosts: Annotated[
        tuple[str, ...],
        Meta(description="Further names this server goes by, for `Host` and `Origin`."),
    ] = ()
    public_url: Annotated[
        str,
        Meta(
            description="Where subscribers reach this service from outside, such as "
            "`https://mq.example.net`. Mail that asks for a confirmation leads to a page there; "
            "without it no such mail is sent."
        ),
    ] = ""
    require_confirmation: Annotated[
        Literal["mail", "all", "none"],
        Meta(
            description="Which subscribers are told nothing before they have confirmed: those with "
            "an address of `mail`, `all` that can be asked (webhooks, too), or `none`. See "
            "[Notifications](notifications.md)."
        ),
    ] = "mail"
    subscriber_types: Annotated[
        tuple[Literal["http", "https", "mailto", "trust+http", "trust+https", "queue"], ...],
        Meta(description="The kinds of subscribers that a subscription may name."),
    ] = ("http", "https", "mailto", "trust+http", "trust+https", "queue")
    allowed_networks: Annotated[
        tuple[str, ...],
        Meta(
            description="Private networks that webhooks may call, such as `10.1.0.0/16`. Without "
            "them only public addresses are called, and this machine while nobody else can reach "
            "the server."
        ),
    ] = ()
    trusted_ca_file: Annotated[
        str,
        Meta(
            description="A file of certificates (PEM) by which webhooks and the mail server are "
            "believed, beside those that the system trusts."
        ),
    ] = ""
    signing_key: Annotated[
        str,
        Meta(
            description="The secret that signs [pre-signed URLs](signed-urls.md) and what "
            "subscribers confirm with; Zaqar's `[signed_url] secret_key`. A store of one process "
            "has one of its own, in `signing.key` of the data directory; nodes that share a store "
            "must be given the same. It has no flag: others could read it there."
        ),
    ] = ""
    signing_key_file: Annotated[
        str,
        Meta(
            description="A file that holds the `signing_key` in its first line, and former ones "
            "in the next."
        ),
    ] = ""
    former_signing_keys: Annotated[
        tuple[str, ...],
        Meta(
            description="Keys that signed before: what they have signed is still good, and "
            "nothing new is signed with them."
        ),
    ] = ()
    max_url_lifetime: Annotated[
        int,
        Meta(ge=60, le=3_153_600_000, description="Seconds a pre-signed URL may be good for."),
    ] = 315_360_000
    policy_file: Annotated[
        str,
        Meta(
            description="A file of rules (YAML) about who may do what, in place of the default "
            "ones of the same names. See [Who may do what](access.md)."
        ),
    ] = ""
    encryption_keys: Annotated[
        tuple[str, ...],
        Meta(
            description="The operator's keys for [encrypted queues](encryption.md), as "
            "`nuska encryption new-key` prints them: the first wraps, each of them unwraps. They "
            "have no flag: others could read them there."
        ),
    ] = ()
    encryption_keys_file: Annotated[
        str, Meta(description="A file that holds the `encryption_keys`, one on each line.")
    ] = ""
    encryption_key_life: Annotated[
        int,
        Meta(ge=60, description="Seconds after which an encrypted queue gets a new data key."),
    ] = 2_592_000
    metrics: Annotated[
        str,
        Meta(description="`path`: at `/metrics` beside the API; `HOST:PORT`: apart; `off`."),
    ] = "path"
    access_log: Annotated[bool, Meta(description="One log line per request.")] = False
    log_format: Annotated[
        Literal["auto", "human", "json"],
        Meta(description="`auto`: for people on a terminal, else JSON lines."),
    ] = "auto"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least that is logged.")
    ] = "info"
    auth: AuthSettings = AuthSettings()
    server: Bounds = Bounds()
    websocket: SocketBounds = SocketBounds()
    delivery: DeliveryBounds = DeliveryBounds()
    live: LiveBounds = LiveBounds()
    mail: MailSettings = MailSettings()
    quotas: QuotaSettings = QuotaSettings()
    limits: Limits = Limits()

    @property
    def address(self) -> Address:
        """Where to listen: ``listen``, with ``bind`` and ``port`` in place of its halves."""
        address = parse_address(self.listen)
        if isinstance(address, TcpAddress):
            host = address.host if self.bind is None else self.bind
            return TcpAddress(host, address.port if self.port is None else self.port)
        return address

    @property
    def is_open(self) -> bool:
        """Whether callers are believed what they say of themselves."""
        return self.auth.auth_strategy == "none"

    @property
    def names(self) -> tuple[str, ...]:
        """Those by which the operator says that the server is known."""
        urls = (self.public_url, *self.cors_origins)
        named = [host for url in urls if (host := urlsplit(url).hostname) is not None]
        return (*self.allowed_hosts, *named)


TABLES: dict[str, type[Struct]] = {
    "auth": AuthSettings,
    "server": Bounds,
    "websocket": SocketBounds,
    "delivery": DeliveryBounds,
    "live": LiveBounds,
    "mail": MailSettings,
    "quotas": QuotaSettings,
    "limits": Limits,
}
"""Of the file, beside its top."""

SECRETS = frozenset(
    {
        "signing_key",
        "former_signing_keys",
        "encryption_keys",
        "smtp_user_password",
        "keystone_password",
        "keystone_credential_secret",
    }
)
"""Never repeated."""
