"""Every setting with its default, unit and range, and the three places it can come from.

Read once, by ``nuska serve``; everything else receives the values it needs.
``python -m nuska.settings`` prints ``docs/settings.md``.
"""

from nuska.settings.fields import FIELDS
from nuska.settings.page import as_markdown
from nuska.settings.sources import SettingsError, default_data_directory, load_settings
from nuska.settings.top import Settings

__all__ = [
    "FIELDS",
    "Settings",
    "SettingsError",
    "as_markdown",
    "default_data_directory",
    "load_settings",
]
