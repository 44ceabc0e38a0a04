"""Arrow structures made by hand, right and wrong ones, that count how often each was released."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any


class Schema(ctypes.Structure):
    pass


class Array(ctypes.Structure):
    pass


class Stream(ctypes.Structure):
    pass


_RELEASE_SCHEMA = ctypes.CFUNCTYPE(None, ctypes.POINTER(Schema))
_RELEASE_ARRAY = ctypes.CFUNCTYPE(None, ctypes.POINTER(Array))
_RELEASE_STREAM = ctypes.CFUNCTYPE(None, ctypes.POINTER(Stream))
_GET_SCHEMA = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Stream), ctypes.POINTER(Schema))
_GET_NEXT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Stream), ctypes.POINTER(Array))
# c_void_p: ctypes gives no text back from a callback.
_GET_LAST_ERROR = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(Stream))

Schema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_char_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.c_void_p),
    ("dictionary", ctypes.c_void_p),
    ("release", _RELEASE_SCHEMA),
    ("private_data", ctypes.c_void_p),
]
Array._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.c_void_p),
    ("dictionary", ctypes.c_void_p),
    ("release", _RELEASE_ARRAY),
    ("private_data", ctypes.c_void_p),
]
Stream._fields_ = [
    ("get_schema", _GET_SCHEMA),
    ("get_next", _GET_NEXT),
    ("get_last_error", _GET_LAST_ERROR),
    ("release", _RELEASE_STREAM),
    ("private_data", ctypes.c_void_p),
]

_capsule_new = ctypes.pythonapi.PyCapsule_New
_capsule_new.restype = ctypes.py_object
_capsule_new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class Released:
    """How often structures of each kind were released; keeps what C code points to."""

    def __init__(self) -> None:
        self.schemas = self.arrays = self.streams = 0
        self._kept: list[Any] = []

    def keep(self, value: Any) -> Any:
        self._kept.append(value)
        return value

    def capsule(self, structure: ctypes.Structure, name: bytes) -> Any:
        self.keep(structure)
        return _capsule_new(ctypes.addressof(structure), self.keep(name), None)

    def schema(self, format: bytes | None, *, has_dictionary: bool = False) -> Schema:
        made = Schema(format=self.keep(format), name=b"", release=self.keep(_RELEASE_SCHEMA(self._schema)))
        if has_dictionary:
            made.dictionary = ctypes.addressof(self.keep(self.schema(b"u")))
        return made

    def array(
        self,
        buffers: Sequence[bytes | None] | None,
        length: int,
        *,
        offset: int = 0,
        null_count: int = 0,
        n_buffers: int | None = None,
        shift: int = 0,
    ) -> Array:
        """An array; ``shift`` bytes are put before each buffer's content, so that it is not aligned."""
        made = Array(length=length, offset=offset, null_count=null_count, n_buffers=n_buffers or 0)
        made.release = self.keep(_RELEASE_ARRAY(self._array))
        if buffers is not None:
            made.n_buffers = len(buffers) if n_buffers is None else n_buffers
            pointers = [self._buffer(content, shift) for content in buffers]
            made.buffers = self.keep((ctypes.c_void_p * max(1, len(pointers)))(*pointers))
        return made

    def stream(
        self,
        schema: Schema,
        arrays: Sequence[Array],
        *,
        fails_at: int | None = None,
        says: bytes | None = None,
    ) -> Stream:
        """A stream; with ``fails_at`` its schema (-1) or that array cannot be had."""
        left = list(arrays)

        def get_schema(_stream: Any, out: Any) -> int:
            if fails_at == -1:
                return 5
            ctypes.memmove(out, ctypes.addressof(schema), ctypes.sizeof(Schema))
            return 0

        def get_next(_stream: Any, out: Any) -> int:
            if fails_at == len(arrays) - len(left):
                return 5
            if left:
                ctypes.memmove(out, ctypes.addressof(self.keep(left.pop(0))), ctypes.sizeof(Array))
            else:
                ctypes.memset(out, 0, ctypes.sizeof(Array))
            return 0

        text = self.keep(ctypes.create_string_buffer(says)) if says is not None else None
        self.keep(schema)
        return Stream(
            get_schema=self.keep(_GET_SCHEMA(get_schema)),
            get_next=self.keep(_GET_NEXT(get_next)),
            get_last_error=self.keep(_GET_LAST_ERROR(lambda _: ctypes.addressof(text) if text else None)),
            release=self.keep(_RELEASE_STREAM(self._stream)),
        )

    def _buffer(self, content: bytes | None, shift: int) -> int | None:
        if content is None:
            return None
        # From malloc, so on 16 bytes; exactly as long as its content: a tool that checks memory sees what is beyond.
        room = self.keep(ctypes.create_string_buffer(b"\0" * shift + content, shift + len(content) or 1))
        return ctypes.addressof(room) + shift

    # A callback that is called on a structure that has none any more would be a double release: it would count.
    def _schema(self, schema: Any) -> None:
        self.schemas += 1
        schema.contents.release = _RELEASE_SCHEMA()

    def _array(self, array: Any) -> None:
        self.arrays += 1
        array.contents.release = _RELEASE_ARRAY()

    def _stream(self, stream: Any) -> None:
        self.streams += 1
        stream.contents.release = _RELEASE_STREAM()


class Shown:
    """An object that shows capsules."""

    def __init__(self, schema: Any, array: Any) -> None:
        self._pair = (schema, array)

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[Any, Any]:
        return self._pair


class ShownStream:
    """An object that shows a stream in a capsule."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> Any:
        return self._stream
