"""What the settings mean for pre-signed URLs: the keys that sign them, and for how long.

An embedded store gets a key of its own, beside the data, the first time. Nodes that share a
store must be given one: a key that each made for itself would be good on that node alone.
"""

import os
import secrets
from pathlib import Path

from nuska.core.sharing import SharingRules
from nuska.domain.moments import seconds
from nuska.domain.signing import Signer
from nuska.files import appearing
from nuska.settings import Settings

KEY_FILE = "signing.key"
"""In the data directory: the key in its first line, former ones in the next."""
KEY_BYTES = 32
MIN_KEY = 16
MAX_KEY = 4096
"""Characters."""
MAX_KEYS = 16


class CannotSign(Exception):
    """There is no usable signing key where one was named; the argument is a sentence."""


def sharing_rules(settings: Settings, data: Path, *, embedded: bool) -> SharingRules:
    """Raises ``CannotSign``."""
    keys = _keys(settings, data, embedded=embedded)
    former = [_checked(key, "former_signing_keys") for key in settings.former_signing_keys]
    if former and not keys:
        raise CannotSign("former_signing_keys: there is no key that signs now")
    return SharingRules(
        signer=Signer(*keys, *former) if keys else None,
        max_lifetime=seconds(settings.max_url_lifetime),
    )


def _keys(settings: Settings, data: Path, *, embedded: bool) -> list[str]:
    """The key that signs and former ones; none where there is no key."""
    if settings.signing_key:
        return [_checked(settings.signing_key, "signing_key")]
    if settings.signing_key_file:
        return _read(Path(settings.signing_key_file))
    if not embedded:
        return []
    if settings.store.startswith("memory:"):  # a key need not outlive what it is for
        return [secrets.token_hex(KEY_BYTES)]
    return _own(data / KEY_FILE)


def _own(path: Path) -> list[str]:
    """What is in ``path``; a key is made when there is none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with appearing(path) as draft:
            os.write(draft.descriptor, f"{secrets.token_hex(KEY_BYTES)}\n".encode())
    except FileExistsError:
        pass
    except OSError as error:
        reason = error.strerror or error
        raise CannotSign(f"The signing key {path} cannot be written: {reason}") from error
    return _read(path)


def _read(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_KEYS * (MAX_KEY + 2))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise CannotSign(f"The signing key {path} cannot be read: {reason}") from error
    lines = text.strip().splitlines() or [""]
    if len(lines) > MAX_KEYS:
        raise CannotSign(f"{path}: there are at most {MAX_KEYS} signing keys")
    return [_checked(line.strip(), str(path)) for line in lines]


def _checked(key: str, where: str) -> str:
    if not MIN_KEY <= len(key) <= MAX_KEY:
        raise CannotSign(
            f"{where}: a signing key has from {MIN_KEY} to {MAX_KEY} characters, and this one "
            f"has {len(key)}"
        )
    return key
