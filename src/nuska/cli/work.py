"""``nuska work``: a command for each message of a queue.

The command gets the body on its standard input and is told the rest in its environment. Its
message stays claimed for as long as it runs, is deleted when it ends well, and given back
otherwise. The first signal lets it finish, the second kills it.
"""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from typing import Annotated

from cyclopts import App, Parameter

from nuska.cli.exits import CommandFailed, Exit, complain
from nuska.cli.options import DEFAULTS, PLAIN, Options
from nuska.client import ClaimedMessage, GiveBack, Queue, Worker
from nuska.client.claims import CLAIM_TTL
from nuska.client.encoding import encode_json
from nuska.client.worker import RETRY_DELAY, WAIT

app = App(
    name="work",
    help="Run a command for each message of a queue.",
    usage="Usage: nuska work [OPTIONS] QUEUE -- COMMAND [ARGS...]",
    default_parameter=PLAIN,
)

TERMINATION_PATIENCE = 5.0
"""Seconds a command has to end after a SIGTERM, when its claim is lost."""


@app.default
async def work(
    queue: Annotated[str, Parameter(help="The queue's name.")],
    /,
    *command: Annotated[
        str,
        Parameter(name="COMMAND", allow_leading_hyphen=True, help="What to run, after `--`."),
    ],
    jobs: Annotated[int, Parameter(help="Commands that run at the same time.")] = 1,
    once: Annotated[
        bool, Parameter(help="Stop after one message; wait until there is one.")
    ] = False,
    until_empty: Annotated[bool, Parameter(help="Stop when there is nothing to claim.")] = False,
    ttl: Annotated[
        int,
        Parameter(help="Seconds after which the messages are free if this program dies."),
    ] = CLAIM_TTL,
    grace: Annotated[
        int | None, Parameter(help="Seconds that messages live on after their claim.")
    ] = None,
    wait: Annotated[int, Parameter(help="Seconds to wait with one request.")] = WAIT,
    retry_delay: Annotated[
        float, Parameter(help="Seconds before a failed message is free again.")
    ] = RETRY_DELAY,
    json_body: Annotated[bool, Parameter(help="Give text bodies as JSON, in quotes, too.")] = False,
    options: Options = DEFAULTS,
) -> int:
    """Run COMMAND for each message, with the body on standard input.

    Exit status 0 deletes the message, anything else gives it back. NUSKA_MESSAGE_ID,
    NUSKA_MESSAGE_TTL, NUSKA_MESSAGE_AGE, NUSKA_MESSAGE_ATTRIBUTES, NUSKA_CLAIM_ID and
    NUSKA_QUEUE tell the command what it works on.
    """
    if not command:
        raise CommandFailed(Exit.USAGE, "Give a command after `--`.")
    if jobs < 1 or retry_delay < 0:
        raise CommandFailed(Exit.USAGE, "--jobs is at least 1 and --retry-delay at least 0.")
    if wait < 1:
        reason = "--wait must be at least 1; --until-empty stops when there is nothing."
        raise CommandFailed(Exit.USAGE, reason)
    if shutil.which(command[0]) is None:
        raise CommandFailed(Exit.USAGE, f"There is no command {command[0]!r}.")
    async with options.client(connections=2 * jobs + 2) as client:
        await client.ping()  # a wrong address is told at once; later the server may go and come
        handle = client.queue(queue)
        commands = Commands(command, handle, options, json_body=json_body)
        worker = Worker(
            handle,
            commands.run,
            jobs=jobs,
            ttl=ttl,
            grace=grace,
            wait=wait,
            retry_delay=retry_delay,
            until_empty=until_empty,
            most=1 if once else None,
            attributes=True,
        )
        with _signals(worker, commands):
            report = await worker.run()
    options.output.done(
        {"done": report.done, "failed": report.failed},
        f"{report.done} done, {report.failed} failed.",
    )
    failed = report.failed and (once or until_empty)
    return Exit.REFUSED if failed or commands.killed else Exit.DONE


class Commands:
    """Runs the command for one message after the other, and knows which are running."""

    def __init__(
        self, command: tuple[str, ...], queue: Queue, options: Options, *, json_body: bool
    ) -> None:
        self._command = command
        self._queue = queue
        self._options = options
        self._json_body = json_body
        self.running: set[asyncio.subprocess.Process] = set()
        """Commands whose start is known and whose end is not."""
        self.killed = False

    async def run(self, message: ClaimedMessage) -> None:
        """Return when the command has ended well; else give the message back."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                env=os.environ | self._environment(message),
                # A group of its own: Ctrl-C is for us, who let the command finish.
                process_group=0,
            )
        except OSError as error:
            complain(f"{self._command[0]} cannot be run: {error.strerror}.")
            raise GiveBack from error
        self.running.add(process)
        try:
            await process.communicate(self._input(message))
        except asyncio.CancelledError:
            complain(f"Message {message.id}: the claim is lost; the command is stopped.")
            await self._terminate(process)
            raise
        finally:
            self.running.discard(process)
        if process.returncode:
            complain(f"Message {message.id}: {_ended(process.returncode)}; it is given back.")
            raise GiveBack

    def kill(self) -> None:
        """End what is running, at once."""
        self.killed = True
        for process in self.running:
            _signal(process, signal.SIGKILL)

    async def _terminate(self, process: asyncio.subprocess.Process) -> None:
        _signal(process, signal.SIGTERM)
        try:
            async with asyncio.timeout(TERMINATION_PATIENCE):
                await process.wait()
        except TimeoutError:
            _signal(process, signal.SIGKILL)
            await process.wait()

    def _input(self, message: ClaimedMessage) -> bytes:
        """A text as it is, anything else as JSON."""
        if isinstance(message.body, str) and not self._json_body:
            return message.body.encode()
        return encode_json(message.body)

    def _environment(self, message: ClaimedMessage) -> Mapping[str, str]:
        record = message.record
        told = {
            "NUSKA_URL": self._options.url,
            "NUSKA_PROJECT": self._options.project,
            "NUSKA_QUEUE": self._queue.name,
            "NUSKA_MESSAGE_ID": record.id,
            "NUSKA_MESSAGE_TTL": str(record.ttl),
            "NUSKA_MESSAGE_AGE": str(record.age),
            "NUSKA_CLAIM_ID": record.claim_id or "",
        }
        if record.attributes is not None:
            told["NUSKA_MESSAGE_ATTRIBUTES"] = encode_json(record.attributes).decode()
        return told


@contextlib.contextmanager
def _signals(worker: Worker, commands: Commands) -> Iterator[None]:
    """The first SIGTERM or SIGINT finishes what is running, the second kills it."""
    loop = asyncio.get_running_loop()
    asked = False

    def received() -> None:
        nonlocal asked
        if asked:
            commands.kill()
            return
        asked = True
        complain("Stopping when the commands that run have ended; a second signal kills them.")
        worker.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    """To the command and what it has started; it may have ended in the meantime."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _ended(status: int) -> str:
    if status < 0:
        return f"the command was ended by {signal.Signals(-status).name}"
    return f"the command ended with status {status}"
