"""``nuska url``: pre-signed URLs, by which others do something with a queue and nothing else."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from nuska.cli.exits import CommandFailed, Exit
from nuska.cli.options import DEFAULTS, PLAIN, Options
from nuska.cli.output import Cells, document
from nuska.client import KeptUrl, SignedUrl

app = App(
    name="url",
    help="Pre-signed URLs: what others may do with a queue without credentials.",
    default_parameter=PLAIN,
)

DAY = 86_400
AT_ONCE = 100
COLUMNS = ("ID", "QUEUE", "METHODS", "PATHS", "EXPIRES", "USED", "NOTE")

Source = Annotated[str, Parameter(name="QUEUE", help="The name of the queue.")]
Many = tuple[str, ...]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
"""The service signs any word; these are the ones that do something."""


@app.command
async def create(
    queue: Source,
    /,
    *,
    method: Annotated[tuple[Method, ...], Parameter(help="May be repeated.")] = ("GET",),
    path: Annotated[Many, Parameter(help="messages, claims or subscriptions; may be repeated.")] = (
        "messages",
    ),
    ttl: Annotated[int, Parameter(help="Seconds it is good for.")] = DAY,
    note: Annotated[str, Parameter(help="To know it again.")] = "",
    uses: Annotated[int | None, Parameter(help="How many requests are let in.")] = None,
    max_body: Annotated[int | None, Parameter(help="Bytes of one post.")] = None,
    max_batch: Annotated[int | None, Parameter(help="Messages in one post.")] = None,
    network: Annotated[
        Many, Parameter(help="Where requests come from, as 10.1.0.0/16; may be repeated.")
    ] = (),
    plain: Annotated[
        bool, Parameter(help="Sign it without keeping it: it cannot be listed or revoked.")
    ] = False,
    options: Options = DEFAULTS,
) -> None:
    """Make one, and print it as a link for each path. It is shown this once."""
    narrowed = bool(note or network) or not uses is max_body is max_batch is None
    if plain and narrowed:
        raise CommandFailed(Exit.USAGE, "With --plain nothing is kept that could be narrowed.")
    expires = datetime.now(UTC) + timedelta(seconds=ttl)
    kept: KeptUrl | None = None
    async with options.client() as client:
        urls = client.queue(queue).signed_urls
        if plain:
            signed = await urls.share(methods=method, paths=path, expires=expires)
        else:
            kept, signed = await urls.create(
                methods=method,
                paths=path,
                expires=expires,
                note=note,
                max_body=max_body,
                max_batch=max_batch,
                uses=uses,
                networks=network,
            )
    _show(signed, kept, options)


def _show(signed: SignedUrl, kept: KeptUrl | None, options: Options) -> None:
    base = options.url.rstrip("/") if options.url.startswith("http") else ""
    links = [f"{base}{link}" for link in signed.links]
    if options.as_json:
        shown: dict[str, Any] = {} if kept is None else document(kept)
        options.output.json({**shown, **document(signed), "urls": links})
        return
    for link in links:
        options.output.line(link)
    if kept is not None:
        options.output.note(f"Kept as {kept.id}, until {kept.expires} UTC.")


@app.command(name="list", usage="Usage: nuska url list [OPTIONS] [QUEUE]")
async def list_urls(
    queue: Annotated[
        str | None, Parameter(name="QUEUE", help="The queue; without one, all of the project.")
    ] = None,
    /,
    *,
    options: Options = DEFAULTS,
) -> None:
    """List the kept ones that are still good, without their signatures."""
    async with options.client() as client:
        listing = (
            client.kept_urls(page=AT_ONCE)
            if queue is None
            else client.queue(queue).signed_urls.list(page=AT_ONCE)
        )

        async def records() -> AsyncIterator[tuple[Mapping[str, Any], Cells]]:
            async for found in listing:
                yield document(found), _cells(found)

        if not await options.output.rows(COLUMNS, records()):
            options.output.note("No kept URLs.")


@app.command(usage="Usage: nuska url revoke [OPTIONS] QUEUE ID...")
async def revoke(
    queue: Source,
    /,
    *ids: Annotated[str, Parameter(name="ID", help="Their ids, as they are listed.")],
    options: Options = DEFAULTS,
) -> None:
    """Have kept ones refused from now on. They need not exist."""
    if not ids:
        raise CommandFailed(Exit.USAGE, "Give the id of a kept URL.")
    async with options.client() as client:
        for id_ in ids:
            await client.queue(queue).signed_urls.revoke(id_)
            options.output.done({"id": id_, "revoked": True}, f"{id_} is good no more.")


def _cells(found: KeptUrl) -> Cells:
    nouns = (path.rpartition("/")[2] for path in found.paths)
    used = f"{found.used}" if found.uses is None else f"{found.used}/{found.uses}"
    return (
        found.id,
        found.queue_name,
        ",".join(found.methods),
        ",".join(nouns),
        found.expires,
        "-" if found.uses is None else used,
        found.note,
    )
