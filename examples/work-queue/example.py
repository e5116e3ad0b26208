"""A sender and three workers, each a process of its own."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from sender import send

from nuska.client import DEFAULT_URL

HERE = Path(__file__).resolve().parent
WORKERS = 3
JOBS = 60
STOP_WITHIN = 30.0
"""Seconds."""


def main() -> None:
    url = os.environ.get("NUSKA_URL", DEFAULT_URL)
    command = [sys.executable, str(HERE / "worker.py")]
    workers = [subprocess.Popen(command) for _ in range(WORKERS)]
    try:
        asyncio.run(send(url, JOBS))
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(STOP_WITHIN)
    print(f"{JOBS} jobs finished")


if __name__ == "__main__":
    main()
