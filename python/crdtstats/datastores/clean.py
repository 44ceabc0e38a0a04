"""What every datastore does with a key and a value before it touches anything."""

from __future__ import annotations

from collections.abc import Iterable

from crdtstats.effects import Block
from crdtstats.errors import UsageError

ROOT = "/"


def clean(key: str) -> str:
    """The key as go-datastore cleans it: a leading ``/``, no trailing one, no empty, ``.`` or ``..`` part.

    Cleaning twice changes nothing more. Raises ``UsageError`` for anything but text that is valid UTF-8
    (lone surrogates are not).
    """
    if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"a key is text, not {type(key).__name__}", key=key)
    if not key.isascii():
        try:
            key.encode()
        except UnicodeEncodeError:
            raise UsageError(f"the key {key!r} is not valid UTF-8 (lone surrogate)", key=key) from None
    if key[:1] == "/" and "//" not in key and "/." not in key and key[-1:] != "/":
        return key  # the usual case: clean already ("/.x" takes the long way, which is right too)
    components: list[str] = []
    for component in key.split("/"):
        if component == "..":
            if components:
                components.pop()
        elif component not in ("", "."):
            components.append(component)
    return "/" + "/".join(components)


def entry(key: str, value: bytes) -> tuple[str, bytes]:
    """A (clean key, bytes) pair that may be stored.

    The root is refused: it lies strictly below no prefix, so no query would ever find it.
    """
    key = clean(key)
    if key == ROOT:
        raise UsageError("the root key holds no value: give the key at least one component", key=key)
    if isinstance(value, (bytearray, memoryview)):  # mutable: keep a copy of what it is now
        value = bytes(value)
    if not isinstance(value, (bytes, Block)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"the value of {key} is bytes, not {type(value).__name__}", key=key)
    return key, value


def changes(
    puts: Iterable[tuple[str, bytes]], deletes: Iterable[str]
) -> tuple[list[tuple[str, bytes]], list[str]]:
    """A batch, checked as a whole before any of it is applied (and read before any lock is taken)."""
    return [entry(key, value) for key, value in puts], [clean(key) for key in deletes]


def below(prefix: str) -> tuple[str, str]:
    """The open interval of keys strictly below a prefix: whole components, so ``/ab`` is not below ``/a``.

    ``"0"`` is the character after ``"/"``. Text order equals the order of the UTF-8 bytes.
    """
    prefix = clean(prefix)
    return (ROOT, "0") if prefix == ROOT else (prefix + "/", prefix + "0")
