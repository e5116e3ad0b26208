"""The SQL of the embedded store: one statement a file, named by its verb."""

from importlib.resources import files


def query(name: str) -> str:
    """The statement in ``<name>.sql`` without its comments."""
    text = files(__name__).joinpath(f"{name}.sql").read_text("utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("--"))
    return "\n".join(lines).strip()
