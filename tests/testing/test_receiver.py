"""The receiver in a process of its own."""

import json
import subprocess
import sys
import urllib.request


def test_a_receiver_process_counts_and_ends_with_whoever_started_it() -> None:
    command = [sys.executable, "-m", "nuska.testing.receiver"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        for _ in range(3):
            with urllib.request.urlopen(f"{url}/ok", data=b"{}", timeout=30) as answer:
                assert answer.status == 200
        with urllib.request.urlopen(f"{url}/count", timeout=30) as answer:
            totals = json.load(answer)
        process.stdin.close()
        assert process.wait(30) == 0
    assert totals["count"] == 4
    assert totals["cpu"] > 0
