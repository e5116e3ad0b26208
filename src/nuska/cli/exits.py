"""How a command ends: the exit codes, and the one sentence on standard error before them.

0    done
1    the server refused, or the work failed
2    the command was not understood
3    no server was reached, or the connection to it was lost
130  interrupted (128 and the number of the signal, as in a shell)
"""

import sys
from enum import IntEnum


class Exit(IntEnum):
    DONE = 0
    REFUSED = 1
    USAGE = 2
    NO_CONNECTION = 3
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class CommandFailed(Exception):  # caught in ``main`` and nowhere else
    """Ends the command with ``code``, after telling ``sentence``."""

    def __init__(self, code: Exit, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


def complain(sentence: str) -> None:
    """One line on standard error, so that a pipe's contents stay clean."""
    sys.stderr.write(f"nuska: {sentence}\n")
