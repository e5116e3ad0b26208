"""Data folders of database servers, made once in a test process and copied from then on.

Making one takes a server's own tool seconds, and most tests want a server of their own. Knows
no server; refuses to outlive the process.
"""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from nuska.testing.engine import START_WITHIN, EngineProcess

_made: dict[str, Path] = {}
"""By kind."""


def data_folder(
    engine: EngineProcess, kind: str, place: Path, make: Callable[[Path], None]
) -> None:
    """Have at ``place`` what ``make`` makes: the first of its kind is kept for the others."""
    if kind not in _made:
        kept = Path(tempfile.mkdtemp(prefix=f"nuska-{kind}-"))
        atexit.register(shutil.rmtree, kept, ignore_errors=True)
        engine.own(kept)
        make(kept / "data")
        _made[kind] = kept / "data"
    copied = engine.spawn("cp", "-a", str(_made[kind]), str(place))
    if copied.wait(START_WITHIN) != 0:
        raise RuntimeError(f"no copy of a data folder: {engine.last_words()}")
