"""``nuska tail``: messages as they are posted."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from cyclopts import App, Parameter

from nuska.cli.exits import CommandFailed, Exit
from nuska.cli.options import DEFAULTS, PLAIN, Options
from nuska.cli.output import Cells, compact, document
from nuska.client import Gap, LiveMessage

app = App(
    name="tail",
    help="Show messages of queues as they are posted.",
    usage="Usage: nuska tail [OPTIONS] QUEUE...",
    default_parameter=PLAIN,
)


@app.default
async def tail(
    *queues: Annotated[str, Parameter(name="QUEUE", help="The queues' names.")],
    topic: Annotated[str | None, Parameter(help="Follow this topic, instead of queues.")] = None,
    since: Annotated[
        str | None,
        Parameter(help="Begin after this marker, or after the message of this id."),
    ] = None,
    only: Annotated[
        str | None, Parameter(name="--filter", help="Messages that fit this filter only (JSON).")
    ] = None,
    limit: Annotated[int | None, Parameter(help="End after so many.")] = None,
    options: Options = DEFAULTS,
) -> None:
    """Show messages of queues as they are posted, until interrupted. They stay where they are.

    A server that goes away is waited for; what was posted meanwhile is shown then.
    """
    if bool(queues) is (topic is not None):
        raise CommandFailed(Exit.USAGE, "Give the name of a queue, or a topic's with --topic.")
    if since is not None and len(queues) > 1:
        raise CommandFailed(Exit.USAGE, "--since is a marker of one queue; name one.")
    if limit is not None and limit < 1:
        raise CommandFailed(Exit.USAGE, "--limit must be more than 0.")

    def tell(gap: Gap) -> None:
        if options.as_json:
            options.output.json({"gap": {"queue": gap.queue, "marker": gap.marker}})
        options.output.note(f"Messages of {gap.queue} up to {gap.marker} are missing.")

    async with (
        options.client() as client,
        client.subscribe(
            *queues, topic=topic, since=since, filter=_filter(only), on_gap=tell
        ) as live,
    ):
        options.output.note(f"Following {topic or ', '.join(queues)}.")
        await options.output.rows(("QUEUE", "ID", "BODY"), _rows(live, limit), at_once=True)


async def _rows(
    live: AsyncIterator[LiveMessage], limit: int | None
) -> AsyncIterator[tuple[Mapping[str, Any], Cells]]:
    count = 0
    async for message in live:
        shown = {**document(message), "body": message.body}
        yield shown, (message.queue, message.id, compact(message.body))
        count += 1
        if count == limit:
            return


def _filter(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise CommandFailed(Exit.USAGE, "--filter must be a JSON object.")
    return document
