"""Every setting with its default, unit and range, and the three places it can come from.

A flag wins over ``NUSKA_*`` in the environment, that over the TOML file, that over the
default. Each source says only what somebody wrote, so a default of one layer never hides
a value of the layer below. Unknown names are errors, all of them reported at once.

Read once, by ``nuska serve``; everything else receives the values it needs.
``python -m nuska.settings`` prints ``docs/settings.md``.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from nuska.addresses import Address, TcpAddress, parse_address
from nuska.delivery.bounds import DeliveryBounds
from nuska.delivery.senders import mail_settings
from nuska.delivery.senders.mail_settings import MailSettings
from nuska.domain import limits as bounds
from nuska.domain.egress import parse_networks
from nuska.domain.limits import Limits
from nuska.transport.server.bounds import Bounds

PREFIX = "NUSKA_"
CONFIG_VARIABLE = "NUSKA_CONFIG"
"""Names the TOML file; not a setting itself."""
CLIENT_VARIABLES = frozenset(
    {"NUSKA_URL", "NUSKA_PROJECT", "NUSKA_CLIENT_ID", "NUSKA_TOKEN", "NUSKA_TIMEOUT"}
)
"""Read by the commands that talk to a server; meaningless to the server itself."""


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
            "(see [Redis](redis.md)), `mongodb://host/database?replicaSet=name` "
            "(see [MongoDB](mongodb.md))."
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
            description="The secret that signs what subscribers confirm with; Zaqar's "
            "`[signed_url] secret_key`. A store of one process has one of its own, in "
            "`signing.key` of the data directory; nodes that share a store must be given the same. "
            "It has no flag: others could read it there."
        ),
    ] = ""
    signing_key_file: Annotated[str, Meta(description="A file that holds the `signing_key`.")] = ""
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
    server: Bounds = Bounds()
    delivery: DeliveryBounds = DeliveryBounds()
    mail: MailSettings = MailSettings()
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
    def names(self) -> tuple[str, ...]:
        """Those by which the operator says that the server is known."""
        public = urlsplit(self.public_url).hostname
        return self.allowed_hosts if public is None else (*self.allowed_hosts, public)


TABLES = ("server", "delivery", "mail", "limits")
"""Of the file, beside its top."""

LIMIT_RANGES: dict[str, tuple[int, str]] = {
    "max_queues_per_page": (1, "Queues in one page of a list."),
    "max_messages_per_page": (1, "Messages in one page, and ids in one get or delete."),
    "max_messages_per_claim_or_pop": (1, "Messages that one claim or pop takes."),
    "max_queue_metadata": (2, "Bytes of a queue's metadata document."),
    "max_messages_post_size": (2, "Bytes of one post."),
    "max_message_ttl": (bounds.MIN_MESSAGE_TTL, "Seconds a message may live."),
    "max_message_delay": (0, "Seconds a message may be held back."),
    "max_claim_ttl": (bounds.MIN_CLAIM_TTL, "Seconds a claim may last."),
    "max_claim_grace": (bounds.MIN_CLAIM_GRACE, "Seconds of life after a claim's end."),
    "default_message_ttl": (bounds.MIN_MESSAGE_TTL, "Seconds, when neither post nor queue says."),
    "default_message_delay": (0, "Seconds; shown only, it makes no queue a delay queue."),
    "default_claim_ttl": (bounds.MIN_CLAIM_TTL, "Seconds, when a claim names none."),
    "default_claim_grace": (bounds.MIN_CLAIM_GRACE, "Seconds, when a claim names none."),
    "max_wait": (0, "Longest wait of a long poll, seconds; longer ones are cut to it."),
    "message_delete_with_claim_id": (0, "A bulk delete must name the claims that hold them."),
    "client_id_uuid_safe": (0, "`strict`: Client-ID must be a UUID; `off`: any text will do."),
    "min_length_client_id": (1, "Characters, with `off`."),
    "max_length_client_id": (1, "Characters, with `off`."),
    "enable_checksum": (0, "Add `checksum` to messages."),
    "admin_mode": (
        0,
        "Serve the operator's routes (health, pools, flavors) to callers with the admin role.",
    ),
    "pooling": (0, "Place queues over pools; see [Pools](pools.md)."),
    "max_subscriptions_per_page": (1, "Subscriptions in one page of a list."),
    "default_subscription_ttl": (
        bounds.MIN_SUBSCRIPTION_TTL,
        "Seconds, when a subscription names none.",
    ),
    "max_pools_per_page": (1, "Pools in one page of a list."),
    "max_flavors_per_page": (1, "Flavors in one page of a list."),
}
"""The least value and the meaning of each of ``Limits``, which knows neither TOML nor ranges."""

TOP_LEVEL_LIMITS = frozenset({"enable_checksum", "admin_mode", "pooling"})
"""Zaqar keeps these in ``[DEFAULT]``; in our file they stand at the top, too."""

PAIRS_IN_ORDER = (
    ("default_message_ttl", "max_message_ttl"),
    ("default_message_delay", "max_message_delay"),
    ("default_claim_ttl", "max_claim_ttl"),
    ("default_claim_grace", "max_claim_grace"),
    ("min_length_client_id", "max_length_client_id"),
)
"""The first of each pair may not exceed the second."""

SECRETS = frozenset({"signing_key", "smtp_user_password"})
"""Never repeated."""

_GOT = re.compile(r", got \w+")
"""What the library says of the type of a wrong value."""


class SettingsError(ValueError):
    """Something an operator wrote cannot be used; one line per problem."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


class Field(Struct, frozen=True):
    """One setting as the sources know it. Names are unique across tables."""

    table: str
    """"" for the top of the file, else ``server`` or ``limits``."""
    name: str
    type: Any
    default: object
    meaning: str

    @property
    def key(self) -> str:
        return f"{self.table}.{self.name}" if self.table else self.name

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


def _fields() -> dict[str, Field]:
    found = []
    structs: tuple[tuple[str, type[Struct]], ...] = (
        ("", Settings),
        ("server", Bounds),
        ("delivery", DeliveryBounds),
        ("mail", MailSettings),
    )
    for table, struct in structs:
        for info in msgspec.structs.fields(struct):
            if info.name not in TABLES:
                meaning = next(
                    note.description
                    for note in get_args(info.type)
                    if isinstance(note, Meta) and note.description
                )
                found.append(Field(table, info.name, info.type, info.default, meaning))
    for info in msgspec.structs.fields(Limits):
        least, meaning = LIMIT_RANGES[info.name]
        table = "" if info.name in TOP_LEVEL_LIMITS else "limits"
        kind = Annotated[int, Meta(ge=least)] if info.type is int else info.type
        found.append(Field(table, info.name, kind, info.default, meaning))
    return {field.name: field for field in found}


FIELDS = _fields()


def load_settings(
    *,
    flags: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    file: str | Path | None = None,
) -> Settings:
    """Merge the sources. ``flags`` holds only what was given; ``None`` there means unset.

    ``file`` None means the one that ``NUSKA_CONFIG`` names, if it names one.
    Raises ``SettingsError`` with every problem found.
    """
    environment = environment or {}
    problems: list[str] = []
    path = file or environment.get(CONFIG_VARIABLE)
    merged: dict[str, object] = {}
    for values in (
        _from_file(Path(path), problems) if path else {},
        _from_environment(environment, problems),
        _from_flags(flags or {}, problems),
    ):
        _lay_over(merged, values)
    problems += _contradictions(merged)
    if problems:
        raise SettingsError(problems)
    return _assemble(merged)


def default_data_directory(environment: Mapping[str, str]) -> Path:
    """Where data goes when nobody says: the user's own place for it (XDG base directories)."""
    base = environment.get("XDG_DATA_HOME", "")
    root = Path(base) if base.startswith("/") else Path("~/.local/share").expanduser()
    return root / "nuska"


def _from_file(path: Path, problems: list[str]) -> dict[str, object]:
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        problems.append(f"{path}: cannot be read: {reason}")
        return {}
    written: dict[str, object] = {}
    for key, value in document.items():
        if key in TABLES and isinstance(value, dict):
            written |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            written[key] = value
    keys = {field.key: field for field in FIELDS.values()}
    values: dict[str, object] = {}
    for key, value in written.items():
        if key not in keys:
            near = _perhaps(key, [*keys, *TABLES])
            problems.append(f"{path}: {key}: no such setting{near}")
        else:
            _convert(keys[key], value, f"{path}: {key}", values, problems, strict=True)
    return values


def _from_environment(environment: Mapping[str, str], problems: list[str]) -> dict[str, object]:
    variables = {field.variable: field for field in FIELDS.values()}
    values: dict[str, object] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE:
            continue
        if variable in variables:
            field = variables[variable]
            written: object = text
            if get_origin(_plain(field.type)) is tuple:
                written = [part.strip() for part in text.split(",") if part.strip()]
            _convert(field, written, variable, values, problems, strict=False)
        elif variable not in CLIENT_VARIABLES:
            problems.append(f"{variable}: no such setting{_perhaps(variable, variables)}")
    return values


def _from_flags(flags: Mapping[str, object], problems: list[str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, value in flags.items():
        if value is not None:
            field = FIELDS[name]
            _convert(field, value, field.flag, values, problems, strict=False)
    return values


def _convert(
    field: Field,
    value: object,
    where: str,
    values: dict[str, object],
    problems: list[str],
    *,
    strict: bool,
) -> None:
    if field.name == "client_id_uuid_safe" and value in ("strict", "off"):
        value = value == "strict"
    try:
        values[field.name] = msgspec.convert(value, field.type, strict=strict)
    except msgspec.ValidationError as error:
        problems.append(f"{where}: {_what_would_do(field, value, str(error))}")


def _what_would_do(field: Field, value: object, error: str) -> str:
    """The library's sentence with the value in place of its type, which nobody has written."""
    kind = _plain(field.type)
    if field.name == "client_id_uuid_safe":
        known: tuple[str, ...] = ("strict", "off")
    elif get_origin(kind) is Literal:
        known = get_args(kind)
    else:
        shown = "what was written" if field.name in SECRETS else repr(value)
        return f"{_GOT.sub('', error.replace('`', ''))}, not {shown}"
    return f"{value!r} is none of {', '.join(map(repr, known))}"


def _lay_over(merged: dict[str, object], values: dict[str, object]) -> None:
    """Later sources win; ``listen`` and its two halves are one setting by two names."""
    if "listen" in values:
        merged.pop("bind", None)
        merged.pop("port", None)
    merged.update(values)


def _contradictions(merged: Mapping[str, object]) -> Iterable[str]:
    limits = {name: merged.get(name, getattr(Limits(), name)) for name in LIMIT_RANGES}
    for low, high in PAIRS_IN_ORDER:
        if limits[low] > limits[high]:  # type: ignore[operator]  # both are integers
            yield f"{low} ({limits[low]}) is more than {high} ({limits[high]})"
    if merged.get("role") == "delivery" and merged.get("workers", 1) != 1:
        yield "workers serve clients, which the role delivery does not: leave them at 1"
    yield from _cannot_be_reached(merged)
    yield from mail_settings.problems(MailSettings(**_of(MailSettings, merged)))
    for name in ("listen", "metrics"):
        text = str(merged.get(name, FIELDS[name].default))
        if not (name == "metrics" and text in {"path", "off"}):
            try:
                parse_address(text)
            except ValueError as error:
                more = "; path and off are possible, too" if name == "metrics" else ""
                yield f"{name}: {error}{more}"


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


def _of(struct: type[Struct], merged: Mapping[str, object]) -> dict[str, Any]:
    """Those of the values that are fields of the struct."""
    names = {info.name for info in msgspec.structs.fields(struct)}
    return {name: value for name, value in merged.items() if name in names}


def _assemble(merged: Mapping[str, object]) -> Settings:
    def of(struct: type[Struct]) -> dict[str, Any]:
        return _of(struct, merged)

    return Settings(
        **of(Settings),
        server=Bounds(**of(Bounds)),
        delivery=DeliveryBounds(**of(DeliveryBounds)),
        mail=MailSettings(**of(MailSettings)),
        limits=Limits(**of(Limits)),
    )


def _plain(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _perhaps(key: str, known: Iterable[str]) -> str:
    near = get_close_matches(key, list(known), n=1)
    return f"; perhaps {near[0]}" if near else ""


def as_markdown() -> str:
    """``docs/settings.md``."""
    lines = [
        "# Settings",
        "",
        "Generated by `python -m nuska.settings > docs/settings.md`; do not edit.",
        "",
        "A flag wins over the environment, the environment over the file, the file over the",
        "default. The file is TOML, named by `--config` or `NUSKA_CONFIG`. Names that do not",
        "exist are errors. In the environment a list is written with commas.",
    ]
    titles = {"": "Top of the file", **{table: f"Table `[{table}]`" for table in TABLES}}
    for table, title in titles.items():
        lines += ["", f"## {title}", "", "| Name | Environment | Default | Meaning |"]
        lines += ["|---|---|---|---|"]
        lines += [
            f"| `{field.name}` | `{field.variable}` | {_shown(field)} | {field.meaning} |"
            for field in FIELDS.values()
            if field.table == table
        ]
    return "\n".join(lines) + "\n"


def _shown(field: Field) -> str:
    if field.name == "client_id_uuid_safe":
        return "`strict`"
    if field.default is None or field.default == "":
        return "not set"
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"`{msgspec.json.encode(value).decode()}`"


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
