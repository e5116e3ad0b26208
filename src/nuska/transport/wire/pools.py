"""Pools, flavors and carriages on the wire (contract http-v2 §8, §9)."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from msgspec import UNSET

from nuska.core.pools import PoolChange, ShownFlavor
from nuska.domain.errors import InvalidBody
from nuska.domain.pools import OWN, Carriage, Flavor, Pool, Whereabouts, masked
from nuska.transport.wire.json import decode_object, encode

POOL_KEYS = frozenset({"uri", "weight", "options", "flavor"})
FLAVOR_KEYS = frozenset({"pool_list", "capabilities"})


def pool_href(name: str) -> str:
    return f"/v2/pools/{quote(name, safe='')}"


def flavor_href(name: str) -> str:
    return f"/v2/flavors/{quote(name, safe='')}"


def decode_pool(name: str, data: bytes) -> Pool:
    """A whole pool; what is missing is reset."""
    document = _document(data, POOL_KEYS)
    for key in ("uri", "weight"):
        if key not in document:
            raise InvalidBody(f'The request body has no "{key}".')
    return Pool(
        name=name,
        uri=_text(document, "uri"),
        weight=_integer(document, "weight"),
        flavor=None if document.get("flavor") is None else _text(document, "flavor"),
        options=_object(document, "options") if "options" in document else {},
    )


def decode_change(data: bytes) -> PoolChange:
    """Any of a pool's fields; other keys are passed over."""
    document = _document(data, None)
    return PoolChange(
        uri=_text(document, "uri") if "uri" in document else UNSET,
        weight=_integer(document, "weight") if "weight" in document else UNSET,
        flavor=(
            UNSET
            if "flavor" not in document
            else None
            if document["flavor"] is None
            else _text(document, "flavor")
        ),
        options=_object(document, "options") if "options" in document else UNSET,
    )


def decode_flavor(name: str, data: bytes) -> Flavor:
    """A flavor; ``capabilities`` is taken and means nothing."""
    document = _document(data, FLAVOR_KEYS)
    pools = document.get("pool_list")
    if not isinstance(pools, list) or not all(isinstance(pool, str) for pool in pools):
        raise InvalidBody('The request body must have a "pool_list", an array of pool names.')
    return Flavor(name=name, pools=tuple(dict.fromkeys(pools)))


def decode_target(data: bytes, *, required: bool) -> str | None:
    """``{"to": pool}``."""
    document = _document(data, frozenset({"to"})) if data else {}
    if document.get("to") is None:
        if required:
            raise InvalidBody('The request body must name a pool: {"to": "NAME"}.')
        return None
    return _text(document, "to")


def encode_pool(pool: Pool, *, detailed: bool) -> bytes:
    return encode(_pool(pool, detailed=detailed))


def encode_pools(pools: Sequence[Pool], links: bytes, *, detailed: bool) -> bytes:
    items = [_pool(pool, detailed=detailed) for pool in pools]
    return b'{"pools": ' + encode(items) + b", " + links + b"}"


def _pool(pool: Pool, *, detailed: bool) -> dict[str, object]:
    shown: dict[str, object] = {
        "name": pool.name,
        "uri": masked(pool.uri),
        "weight": pool.weight,
        "flavor": pool.flavor,
        "href": pool_href(pool.name),
    }
    if detailed:
        shown["options"] = pool.options
    return shown


def encode_flavor(shown: ShownFlavor) -> bytes:
    return encode(
        {
            "name": shown.flavor.name,
            "capabilities": shown.capabilities or [],
            "pool_list": list(shown.flavor.pools),
            "href": flavor_href(shown.flavor.name),
        }
    )


def encode_flavors(flavors: Sequence[ShownFlavor], links: bytes) -> bytes:
    return b'{"flavors": ' + encode([_listed(one) for one in flavors]) + b", " + links + b"}"


def _listed(shown: ShownFlavor) -> dict[str, object]:
    flavor = shown.flavor
    item: dict[str, object] = {"name": flavor.name, "href": flavor_href(flavor.name)}
    if flavor.pools:
        item["pool_list"] = list(flavor.pools)
    if shown.capabilities is not None:
        item["capabilities"] = shown.capabilities
    return item


def encode_whereabouts(found: Whereabouts) -> bytes:
    """Ours. ``pool`` is null for the store that keeps the catalogue."""
    return encode({"pool": None if found.pool == OWN else found.pool, "moving_to": found.target})


def encode_carriage(carriage: Carriage) -> bytes:
    """Ours. ``from`` is null for the store that keeps the catalogue, ``to`` where each queue
    goes wherever its flavor allows."""
    document: dict[str, object] = {
        "from": None if carriage.source == OWN else carriage.source,
        "to": carriage.target,
        "state": carriage.state,
        "queues_done": carriage.queues_done,
        "queues_left": carriage.queues_left,
        "messages_done": carriage.messages_done,
        "messages_left": carriage.messages_left,
        "seconds": carriage.seconds,
    }
    if carriage.problem:
        document["problem"] = carriage.problem
    return encode(document)


def _document(data: bytes, known: frozenset[str] | None) -> dict[str, Any]:
    if not data:
        raise InvalidBody("The request body can not be empty.")
    document = decode_object(data)
    unknown = sorted(document.keys() - known) if known is not None else []
    if unknown:
        raise InvalidBody(f"The request body has an unknown key: {unknown[0]}.")
    return document


def _text(document: dict[str, Any], key: str) -> str:
    value = document[key]
    if not isinstance(value, str):
        raise InvalidBody(f'The value of "{key}" must be a string.')
    return value


def _integer(document: dict[str, Any], key: str) -> int:
    value = document[key]
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidBody(f'The value of "{key}" must be an integer.')
    return value


def _object(document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document[key]
    if not isinstance(value, dict):
        raise InvalidBody(f'The value of "{key}" must be an object.')
    return value
