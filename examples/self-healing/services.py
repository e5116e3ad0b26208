"""The services that are looked after: simulated ones, each a file that says how it is.

ok        it runs
stopped   it has to be started
broken    starting it does not help
"""

from pathlib import Path


class Services:
    """A folder with a file for each service."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        return sorted(path.name for path in self._folder.iterdir())

    def state(self, name: str) -> str:
        return (self._folder / name).read_text().strip()

    def set(self, name: str, state: str) -> None:
        (self._folder / name).write_text(state)

    def start(self, name: str) -> None:
        """``RuntimeError`` when it does not start."""
        if self.state(name) == "broken":
            raise RuntimeError(f"{name} does not start")
        self.set(name, "ok")
