"""``python -m nuska.settings`` prints ``docs/settings.md``."""

import sys

from nuska.settings.page import as_markdown

sys.stdout.write(as_markdown())
