"""``nuska encryption``: the keys of encrypted queues."""

import secrets
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import App, Parameter

from nuska.cli.exits import CommandFailed, Exit
from nuska.cli.options import DEFAULTS, PLAIN, Options
from nuska.cli.output import Cells, counted, document
from nuska.client import ADMIN

KEY_BYTES = 32

app = App(name="encryption", help="The keys of encrypted queues.", default_parameter=PLAIN)


@app.command
def new_key() -> int:
    """Make an operator's key, for the settings encryption_keys and encryption_keys_file."""
    from nuska.domain.sealing import OperatorKeys

    key = b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    sys.stdout.write(f"{key}\n")
    sys.stderr.write(f"A server calls this key {OperatorKeys([key]).first}.\n")
    return Exit.DONE


@app.command(name="list")
async def list_keys(*, options: Options = DEFAULTS) -> None:
    """List the data keys of the project: what they are for, not what they are."""
    async with options.client(headers=ADMIN) as client:

        async def records() -> AsyncIterator[tuple[Mapping[str, Any], Cells]]:
            async for key in client.data_keys():
                made = datetime.fromtimestamp(key.created_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
                yield document(key), (key.id, key.queue, made, key.operator_key)

        columns = ("ID", "QUEUE", "MADE (UTC)", "WRAPPED BY")
        if not await options.output.rows(columns, records()):
            options.output.note("No data keys.")


@app.command
async def rotate(*, options: Options = DEFAULTS) -> None:
    """Have the project's encrypted queues use new data keys from now on."""
    async with options.client(headers=ADMIN) as client:
        queues = await client.encryption.rotate()
    options.output.done(
        {"queues": queues}, f"{counted(queues, 'queue')} will get new data keys with the next post."
    )


@app.command
async def erase(
    *,
    yes: Annotated[bool, Parameter(help="Do it: there is no way back.")] = False,
    options: Options = DEFAULTS,
) -> None:
    """Erase the project's data keys: whatever they have encrypted is gone for ever."""
    if not yes:
        raise CommandFailed(
            Exit.USAGE, "Everything in the project's encrypted queues would be lost: say --yes."
        )
    async with options.client(headers=ADMIN) as client:
        keys = await client.encryption.erase()
    options.output.done({"keys": keys}, f"{counted(keys, 'data key')} erased.")


@app.command
async def rewrap(*, options: Options = DEFAULTS) -> None:
    """Wrap the data keys of every project with the operator's first key."""
    async with options.client(headers=ADMIN) as client:
        keys = await client.encryption.rewrap()
    options.output.done({"keys": keys}, f"{counted(keys, 'data key')} wrapped anew.")
