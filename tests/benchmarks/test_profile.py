"""py-spy's samples are counted for the part that was at work."""

import pytest
from benchmarks.profile import OTHER, parts_of, thread_names

SAMPLES = """\
thread (17): MainThread;main (nuska/__main__.py);run (uvloop/__init__.py) 2
thread (17): MainThread;_add (/x/nuska/stores/sqlite/messages.py);find (<string>) 3
thread (17): MainThread;call (/x/falcon/asgi/app.py);post (/x/nuska/core/messages.py) 4
thread (17): MainThread;elsewhere (/x/json/decoder.py) 1
thread (23): sqlite-commit;_commit (/x/nuska/stores/sqlite/writer.py) 90
"""


def test_a_sample_belongs_to_the_innermost_frame_with_a_name() -> None:
    assert parts_of(SAMPLES) == {
        "rules: access, limits, defaults": pytest.approx(0.4),
        "store: statements and rows": pytest.approx(0.3),
        "event loop and sockets (uvloop)": pytest.approx(0.2),
        OTHER: pytest.approx(0.1),
    }


def test_threads_are_known_by_their_names() -> None:
    assert thread_names(SAMPLES) == {17: "MainThread", 23: "sqlite-commit"}
