"""``nuska claim``: claims one by one, for looking into things and for scripts.

Nothing here renews a claim while something runs: that is ``nuska work``.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from cyclopts import App, Parameter

from nuska.cli.message import COLUMNS, row
from nuska.cli.options import DEFAULTS, PLAIN, Options
from nuska.cli.output import Cells
from nuska.client import Claim, Message
from nuska.client.claims import CLAIM_TTL

app = App(name="claim", help="Claim messages, renew and release claims.", default_parameter=PLAIN)

QueueName = Annotated[str, Parameter(help="The queue's name.")]
ClaimId = Annotated[str, Parameter(name="CLAIM", help="The claim's id.")]
Ttl = Annotated[int, Parameter(help="Seconds until the claim ends by itself.")]
Grace = Annotated[int | None, Parameter(help="Seconds its messages live on after that, at least.")]
WithAttributes = Annotated[bool, Parameter(help="Show attributes, too.")]


@app.command
async def create(
    queue: QueueName,
    /,
    *,
    limit: Annotated[int, Parameter(help="Claim so many at most.")] = 1,
    ttl: Ttl = CLAIM_TTL,
    grace: Grace = None,
    wait: Annotated[int, Parameter(help="Seconds to wait for a message.")] = 0,
    attributes: WithAttributes = False,
    options: Options = DEFAULTS,
) -> None:
    """Claim messages. They stay claimed until deleted, released, or the claim ends."""
    async with options.client() as client:
        claim = await client.queue(queue).create_claim(
            limit=limit, ttl=ttl, grace=grace, wait=wait, attributes=attributes
        )
        if claim is not None:
            await _show(options, claim)
        elif options.as_json:
            options.output.json({"id": None, "messages": []})
        else:
            options.output.note("Nothing to claim.")


@app.command
async def show(
    queue: QueueName,
    claim: ClaimId,
    /,
    *,
    attributes: WithAttributes = False,
    options: Options = DEFAULTS,
) -> None:
    """Show a claim and what is left of its messages."""
    async with options.client() as client:
        await _show(options, await client.queue(queue).show_claim(claim, attributes=attributes))


@app.command
async def renew(
    queue: QueueName,
    claim: ClaimId,
    /,
    *,
    ttl: Ttl = CLAIM_TTL,
    grace: Grace = None,
    options: Options = DEFAULTS,
) -> None:
    """Let a claim last for another ttl from now."""
    async with options.client() as client:
        await client.queue(queue).renew_claim(claim, ttl=ttl, grace=grace)
    options.output.done({"id": claim, "ttl": ttl}, f"Claim {claim} lasts {ttl} seconds from now.")


@app.command
async def release(queue: QueueName, claim: ClaimId, /, *, options: Options = DEFAULTS) -> None:
    """End a claim; its messages are free at once. It need not exist."""
    async with options.client() as client:
        await client.queue(queue).release_claim(claim)
    options.output.done({"id": claim, "released": True}, f"Claim {claim} is over.")


async def _show(options: Options, claim: Claim) -> None:
    if options.as_json:
        messages = [row(message)[0] for message in claim.messages]
        shown = {"id": claim.id, "ttl": claim.ttl, "age": claim.age, "messages": messages}
        options.output.json(shown)
        return
    options.output.note(f"Claim {claim.id}, {claim.age} of {claim.ttl} seconds old")
    await options.output.rows(COLUMNS, _rows(claim.messages))


async def _rows(messages: list[Message]) -> AsyncIterator[tuple[Mapping[str, Any], Cells]]:
    for message in messages:
        yield row(message)
