"""The key of a private network, as bytes or as the file ``swarm.key`` that other libp2p programs read."""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import cast

from crdtstats.errors import UsageError

KEY_BYTES = 32
HEADER = b"/key/swarm/psk/1.0.0/"
FILE_BYTES_MAX = 4096


def read_swarm_key(given: object) -> bytes:
    """The 32 bytes of the key that ``given`` is: those bytes, the text of a ``swarm.key`` file, or its path.

    A file has three lines: ``/key/swarm/psk/1.0.0/``, one of ``/base16/``, ``/base64/`` and ``/bin/``, the key.

    Raises:
        UsageError: it is none of these, or there is no such file. No message shows what may be a key.
    """
    if isinstance(given, bytes):
        return given if len(given) == KEY_BYTES else _decode(given)
    if isinstance(given, str) and given.startswith(HEADER.decode()):
        return _decode(given.encode())
    if isinstance(given, (str, os.PathLike)):
        return _decode(_read(Path(cast("str | os.PathLike[str]", given))))
    raise UsageError(f"psk is 32 bytes, or the text or path of a swarm.key, not {type(given).__name__}")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no path"
        raise UsageError(f"psk names no swarm.key that can be read: {reason}") from None


def _decode(text: bytes) -> bytes:
    header, _, rest = text.partition(b"\n")
    encoding, _, body = rest.partition(b"\n")
    if header.rstrip(b"\r") != HEADER:
        raise UsageError(f"psk is neither {KEY_BYTES} bytes nor a file that begins with {HEADER.decode()}")
    key = _bytes(encoding.rstrip(b"\r"), body)
    if len(key) != KEY_BYTES:
        raise UsageError(f"the key in the swarm.key has {len(key)} bytes, not {KEY_BYTES}", limit=KEY_BYTES)
    return key


def _bytes(encoding: bytes, body: bytes) -> bytes:
    try:
        if encoding == b"/base16/":
            return binascii.unhexlify(body.strip())
        if encoding == b"/base64/":
            return base64.b64decode(body.strip(), validate=True)
    except ValueError:
        raise UsageError(f"the key in the swarm.key is not {encoding.decode()}") from None
    if encoding == b"/bin/":
        return body[:KEY_BYTES]
    raise UsageError("the second line of a swarm.key is /base16/, /base64/ or /bin/")
