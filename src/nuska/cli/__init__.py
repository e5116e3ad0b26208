"""The command ``nuska``: reading arguments and printing, nothing else.

A command's module is imported when the command is used, so that the server starts without
the client library and a client command without the server.
"""

import os
import sys

from cyclopts import App, CycloptsError, UnknownOptionError, UnusedCliTokensError

from nuska import __version__
from nuska.cli.exits import CommandFailed, Exit, complain

_SERVE = """Run a server until it is told to stop.

A flag wins over NUSKA_* in the environment, that over the file. There are more settings than
flags, such as the limits: docs/settings.md has them all.
"""

_HELP = """A durable message queue that speaks OpenStack Zaqar's v2 API.

`nuska serve` runs a server. The other commands find it by NUSKA_URL (http://127.0.0.1:8888 unless
set), their project by NUSKA_PROJECT, and show the token or API key in NUSKA_TOKEN.
"""

COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("nuska.cli.serve:serve", _SERVE),
    "store": ("nuska.cli.store:app", "Look after the store that a server uses."),
    "queue": ("nuska.cli.queue:app", "Queues, their metadata and statistics."),
    "topic": ("nuska.cli.topic:app", "Topics: publish to subscribers."),
    "subscription": (
        "nuska.cli.subscription:app",
        "Whom a queue or topic tells of what is posted.",
    ),
    "dead": ("nuska.cli.dead:app", "What got nowhere: look at it, send it on its way again."),
    "pool": ("nuska.cli.pool:app", "Pools: the stores that queues are placed over."),
    "flavor": ("nuska.cli.flavor:app", "Flavors: names for pools that can do the same."),
    "encryption": ("nuska.cli.encryption:app", "The keys of encrypted queues."),
    "message": ("nuska.cli.message:app", "Post, look at, delete and pop messages."),
    "tail": ("nuska.cli.tail:app", "Show messages as they are posted."),
    "claim": ("nuska.cli.claim:app", "Claim messages, renew and release claims."),
    "quota": ("nuska.cli.quota:app", "Quotas: what projects may have, and have."),
    "key": ("nuska.cli.key:app", "API keys: make, list and revoke them."),
    "url": ("nuska.cli.url:app", "Pre-signed URLs: let others in without credentials."),
    "policy": ("nuska.cli.policy:app", "Who may do what, and a file that says so."),
    "webhook": ("nuska.cli.webhook:app", "Secrets and signatures of webhooks."),
    "work": ("nuska.cli.work:app", "Run a command for each message of a queue."),
}
"""Name, where it is, and the line it has in ``nuska --help``."""

HALVES_OF_LISTEN = frozenset({"--port", "--host", "--bind"})
"""What other servers call it; the nearest name of ours would be ``--store``."""


def build_app() -> App:
    app = App(
        name="nuska",
        help=_HELP,
        version=__version__,
    )
    for name, (where, summary) in COMMANDS.items():
        app.command(where, name=name, help=summary)
    return app


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; returns the exit status (see ``exits``)."""
    try:
        result = build_app()(
            arguments, result_action="return_value", exit_on_error=False, print_error=False
        )
        return result if isinstance(result, int) else Exit.DONE
    except UnusedCliTokensError as error:
        complain(f"Too many arguments: {', '.join(map(repr, error.unused_tokens or []))}.")
        return Exit.USAGE
    except UnknownOptionError as error:
        if arguments[:1] == ["serve"] and error.token.keyword in HALVES_OF_LISTEN:
            complain(f"Unknown option: {error.token.keyword}. Say --listen HOST:PORT.")
        else:
            complain(" ".join(str(error).split()))
        return Exit.USAGE
    except CycloptsError as error:
        complain(" ".join(str(error).split()))
        return Exit.USAGE
    except CommandFailed as end:
        complain(end.sentence)
        return end.code
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read has seen enough. What is still buffered must not fail at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.BROKEN_PIPE
