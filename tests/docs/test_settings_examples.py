"""The settings that the documents show can be used as they stand."""

import re
from pathlib import Path

import pytest

from nuska.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [
    pytest.param(block, id=f"{path.relative_to(ROOT)}-{number}")
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
    for number, block in enumerate(BLOCK.findall(path.read_text("utf-8")))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_file_of_these_settings_is_understood(block: str, tmp_path: Path) -> None:
    file = tmp_path / "nuska.toml"
    file.write_text(block)
    load_settings(environment={"NUSKA_KEYSTONE_PASSWORD": "from elsewhere"}, file=file)
