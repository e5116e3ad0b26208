"""What ``nuska serve`` tells people when it is ready and when it stops."""

import contextlib
import shlex
import sys
import uuid

from nuska import __version__
from nuska.addresses import Address, UnixAddress
from nuska.assembly import Service, shown_url
from nuska.opening import ONE_PROCESS_ONLY
from nuska.settings import Settings

STOPPING = "Stopping: finishing the requests in flight. A second signal stops at once.\n"


def banner(service: Service, settings: Settings) -> str:
    """What a person needs to know, and three commands that work when pasted."""
    lines = [f"Nuska {__version__}"]
    if service.address is not None:
        lines.append(f"  listening on  {shown_url(service.address, settings)}")
    if service.websocket is not None:
        lines.append(
            f"  websockets    {shown_url(service.websocket, settings).replace('http', 'ws', 1)}"
        )
    if settings.role != "all":
        lines.append(f"  role          {_ROLES[settings.role]}")
    if settings.workers > 1:
        lines.append(f"  workers       {settings.workers}")
    lines += [
        f"  data          {service.where}",
        f"  durability    {service.store.durability}",
    ]
    if service.address is not None:
        lines.append(f"  access        {_access(service, settings)}")
    if service.missing_keys:
        lines.append(
            f"  encryption    KEY MISSING: {', '.join(service.missing_keys)}; what needs it can be "
            "neither posted nor read. Set encryption_keys_file"
        )
    if service.metrics_at:
        lines.append(f"  metrics       {service.metrics_at}")
    if service.address is not None:
        lines += _examples(service.address, settings)
    return "\n".join(lines) + "\n"


_ROLES = {
    "api": "api: what is over is cleared away by other nodes",
    "delivery": "delivery: background work only, serves no clients",
}


_STRATEGIES = {
    "keys": "API keys",
    "keystone": "tokens of Keystone, and API keys",
    "jwt": "tokens of an issuer, and API keys",
}


def _access(service: Service, settings: Settings) -> str:
    if not settings.is_open:
        accepted = _STRATEGIES[settings.auth.auth_strategy]
        return f"{accepted}; {_first_key(settings)}" if accepted == "API keys" else accepted
    if service.open_to_others:
        return "OPEN TO OTHERS: no authentication; whoever reaches this address may do everything"
    return "open: no authentication; only this machine can reach it"


def _first_key(settings: Settings) -> str:
    """How somebody gets in where nobody does without a key."""
    command = "nuska key create --in-store --role admin"
    if settings.store.partition(":")[0] not in ONE_PROCESS_ONLY:
        return f"the first one is made with: {command}"
    where = f" --data {shlex.quote(settings.data)}" if settings.data else ""
    return f"the first one is made, while this server is stopped, with: {command}{where}"


def _examples(address: Address, settings: Settings) -> list[str]:
    curl, base = r"curl -sSw '\n'", shown_url(address, settings)
    if isinstance(address, UnixAddress):
        curl, base = f"{curl} --unix-socket {address.path}", "http://localhost"
    proof = "'X-Project-Id: demo'" if settings.is_open else '"X-Auth-Token: $NUSKA_TOKEN"'
    who = f"-H 'Client-ID: {uuid.uuid4()}' -H {proof}"
    queue = f"{base}/v2/queues/demo"
    body = """-H 'Content-Type: application/json' -d '{"messages": [{"body": {"job": 17}}]}'"""
    return [
        "",
        "Post a message, claim it, list what is there:",
        f"  {curl} {who} {body} {queue}/messages",
        f"  {curl} {who} -X POST {queue}/claims",
        f"  {curl} {who} '{queue}/messages?echo=true&include_claimed=true'",
        "",
    ]


def say(text: str) -> None:
    """On standard output, if anybody listens: nobody is no reason not to serve."""
    with contextlib.suppress(OSError):
        sys.stdout.write(text)
        sys.stdout.flush()
