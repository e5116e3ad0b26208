"""What a phone would have: look at the buildings, and set a temperature.

python phone.py show
python phone.py set north 21.5
"""

import argparse
import os
import sys

from building import PROJECT
from devices import COMMAND_TTL, METRICS, commands_of

from nuska.client import DEFAULT_URL, ClientError
from nuska.client.blocking import BlockingClient


def show(client: BlockingClient) -> None:
    """The last reading of each building."""
    last = {}
    for message in client.queue(METRICS).messages():
        last[message.body["building"]] = message.body
    for name, reading in sorted(last.items()):
        print(
            f"{name:8} {reading['celsius']:5.1f} °C   "
            f"set to {reading['target']:.1f} °C   {reading['working']}"
        )
    if not last:
        print("No building has said anything for a minute.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("show")
    setting = commands.add_parser("set")
    setting.add_argument("building")
    setting.add_argument("celsius", type=float)
    arguments = parser.parse_args()
    url = os.environ.get("NUSKA_URL", DEFAULT_URL)
    token = os.environ.get("NUSKA_TOKEN")
    with BlockingClient(url, project=PROJECT, token=token) as client:
        if arguments.command == "show":
            show(client)
        else:
            queue = client.queue(commands_of(arguments.building))
            queue.post({"target": arguments.celsius}, ttl=COMMAND_TTL)
            print(f"{arguments.building} is told to get to {arguments.celsius:.1f} °C.")


if __name__ == "__main__":
    try:
        main()
    except ClientError as error:
        sys.exit(str(error))
