"""Processes on a machine whose clock is wrong, as they see it: libfaketime between them and it.

Only the wall clock is moved; time passes as it does. Fails with a sentence where the library
(Debian package faketime) is not there.
"""

from pathlib import Path

LIBRARIES = Path("/usr/lib")


def wrong_by(seconds: int) -> dict[str, str]:
    """The environment of a process whose wall clock is so far ahead, or with a minus behind."""
    found = sorted(LIBRARIES.glob("**/faketime/libfaketime.so.1"))
    if not found:
        raise RuntimeError("these tests need libfaketime (Debian package faketime)")
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME": f"{seconds:+d}",
        "DONT_FAKE_MONOTONIC": "1",
    }
