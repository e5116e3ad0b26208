"""Sealing and opening bodies: AES-256-GCM (NIST SP 800-38D), keys wrapped by an operator's key.

A data key belongs to a project and to the queue whose posts it seals; it is stored wrapped. A
sealed body says which key opens it and is bound to that key, to the project, and to a random
name of its own, but not to the queue: messages move between the queues of a project.

    "\\u001Fsealed1.BASE64URL(key id 12 bytes, envelope id 16, nonce 12, ciphertext, tag 16)"

Nonces are random, so a key must not seal more than 2³² bodies (SP 800-38D §8.3).
"""

import binascii
from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from hmac import digest

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from nuska.domain.sealed import MARK

RandomBytes = Callable[[int], bytes]

KEY_BYTES = 32
KEY_ID_BYTES = 12
ENVELOPE_ID_BYTES = 16
NONCE_BYTES = 12
TAG_BYTES = 16
_HEAD = KEY_ID_BYTES + ENVELOPE_ID_BYTES + NONCE_BYTES
_SHORTEST = _HEAD + TAG_BYTES
_ENCODED_KEY_ID = KEY_ID_BYTES * 4 // 3
_WRAPPING = b"nuska data key\x1f"
_NAMING = b"nuska operator key\x1f"
_TELLING_APART = b"nuska fingerprint\x1f"


class Broken(Exception):
    """Not what was sealed: changed, cut short, or of another key or project."""


class BadKey(ValueError):
    """An operator's key that cannot be one; the argument is a sentence that does not show it."""


def key_id_of(body: bytes) -> str:
    """By which key a sealed body can be opened, in hex. Raises ``Broken``."""
    start = len(MARK)
    return _decoded(body[start : start + _ENCODED_KEY_ID]).hex()


class DataKey:
    """Seals and opens the bodies of one project. Never shows itself."""

    __slots__ = ("_cipher", "_id", "_project", "id")

    def __init__(self, project: str, key_id: str, key: bytes) -> None:
        self.id = key_id
        self._id = bytes.fromhex(key_id)
        self._project = project.encode() + b"\x1f"
        self._cipher = AESGCM(key)

    def seal(self, body: bytes, random_bytes: RandomBytes) -> bytes:
        chance = random_bytes(ENVELOPE_ID_BYTES + NONCE_BYTES)
        named = self._id + chance[:ENVELOPE_ID_BYTES]
        nonce = chance[ENVELOPE_ID_BYTES:]
        sealed = self._cipher.encrypt(nonce, body, self._project + named)
        return MARK + urlsafe_b64encode(named + nonce + sealed) + b'"'

    def open(self, sealed: bytes) -> bytes:
        """The body as it was. Raises ``Broken``."""
        raw = _decoded(sealed[len(MARK) : -1])
        named, nonce = raw[: KEY_ID_BYTES + ENVELOPE_ID_BYTES], raw[_HEAD - NONCE_BYTES : _HEAD]
        if len(raw) < _SHORTEST or not (raw.startswith(self._id) and sealed.endswith(b'"')):
            raise Broken
        try:
            return self._cipher.decrypt(nonce, raw[_HEAD:], self._project + named)
        except InvalidTag as error:
            raise Broken from error


class Wrapped(Struct, frozen=True, kw_only=True):
    """A data key as it is stored."""

    operator_key: str
    """Which operator's key wraps it."""
    nonce: bytes
    key: bytes


class OperatorKeys:
    """The operator's keys: the first wraps, each of them unwraps. Never shows one."""

    def __init__(self, keys: Sequence[str]) -> None:
        """``keys``: 32 random bytes each, in base64. Raises ``BadKey``."""
        if not keys:
            raise BadKey("there is no encryption key")
        self._ciphers: dict[str, AESGCM] = {}
        for number, text in enumerate(keys, start=1):
            key = _key_bytes(text, number)
            self._ciphers[sha256(_NAMING + key).hexdigest()[:16]] = AESGCM(key)
        self.first = next(iter(self._ciphers))
        """The name of the key that wraps: it says nothing of the key."""
        # By the oldest key, which stays the same when another is put before it.
        oldest = _key_bytes(keys[-1], len(keys))
        self._telling_apart = digest(oldest, _TELLING_APART, "sha256")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._ciphers)

    def wrap(self, key: bytes, project: str, key_id: str, random_bytes: RandomBytes) -> Wrapped:
        nonce = random_bytes(NONCE_BYTES)
        sealed = self._ciphers[self.first].encrypt(nonce, key, _bound_to(project, key_id))
        return Wrapped(operator_key=self.first, nonce=nonce, key=sealed)

    def unwrap(self, wrapped: Wrapped, project: str, key_id: str) -> bytes:
        """Raises ``KeyError`` without the operator's key that wraps it, and ``Broken``."""
        cipher = self._ciphers[wrapped.operator_key]
        try:
            return cipher.decrypt(wrapped.nonce, wrapped.key, _bound_to(project, key_id))
        except InvalidTag as error:
            raise Broken from error

    def fingerprint(self, project: str, of: bytes) -> bytes:
        """A digest that only tells who has the operator's keys whether two things are equal."""
        return digest(self._telling_apart, project.encode() + b"\x1f" + of, "sha256")


def _bound_to(project: str, key_id: str) -> bytes:
    return _WRAPPING + project.encode() + b"\x1f" + key_id.encode()


def _key_bytes(text: str, number: int) -> bytes:
    try:
        key = b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise BadKey(f"encryption key {number} is not base64") from None
    if len(key) != KEY_BYTES:
        raise BadKey(f"encryption key {number} has {len(key)} bytes; it must have {KEY_BYTES}")
    return key


def _decoded(text: bytes) -> bytes:
    try:
        return urlsafe_b64decode(text)
    except (binascii.Error, ValueError) as error:
        raise Broken from error
