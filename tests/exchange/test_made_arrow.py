"""Arrow structures made by hand: what is wrong is refused in words, and everything is released once."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import pytest

from crdtstats.errors import CounterOverflowError, UsageError
from crdtstats.store import CRDTStatsStore
from tests.exchange.made_arrow import Array, Released, Shown, ShownStream


@pytest.fixture
def released() -> Released:
    return Released()


def i32(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}i", *numbers)


def i64(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}q", *numbers)


def view(length: int, text: bytes = b"", index: int = 0, offset: int = 0) -> bytes:
    if 0 <= length <= 12:
        return i32(length) + text.ljust(12, b"\0")
    return i32(length) + text[:4].ljust(4, b"\0") + i32(index, offset)


def shown(released: Released, format: bytes | None, array: Array, **schema: Any) -> Shown:
    return Shown(
        released.capsule(released.schema(format, **schema), b"arrow_schema"),
        released.capsule(array, b"arrow_array"),
    )


LONG = b"more than twelve bytes"


@pytest.mark.parametrize(
    ("format", "buffers", "more"),
    [
        (b"u", [None, i32(0, 1, 3), b"abc"], {}),
        (b"U", [None, i64(0, 1, 3), b"abc"], {}),
        (b"U", [None, i64(0, 1, 3), b"abc"], {"shift": 1}),
        (b"u", [None, i32(0, 1, 3), b"abc"], {"shift": 3}),
        (b"u", [None, i32(9, 4, 5, 7, 0), b"????abc"], {"offset": 1}),
        (b"u", [b"\x06", i32(9, 4, 5, 7, 0), b"????abc"], {"offset": 1, "null_count": -1}),
        (b"u", [b"\x03", i32(0, 1, 3), b"abc"], {"null_count": 1}),  # it says so, and is wrong
        (b"u", [None, i32(0, 1, 3), b"abc"], {"null_count": -1}),
        (b"vu", [None, view(1, b"a") + view(2, b"bc")], {}),
        (b"vu", [None, view(-1) + view(1, b"a") + view(2, b"bc")], {"offset": 1, "shift": 5}),
    ],
)
def test_the_right_ones_count(
    stats: CRDTStatsStore, released: Released, format: bytes, buffers: list[Any], more: dict[str, Any]
) -> None:
    if format == b"vu":
        buffers = [*buffers, None]  # no buffers, so no sizes of them
    stats.update(shown(released, format, released.array(buffers, 2, **more)), [1, 2])
    assert dict(stats.items()) == {"a": 1, "bc": 2}
    assert (released.schemas, released.arrays) == (1, 1)


def test_views_of_two_buffers_count(stats: CRDTStatsStore, released: Released) -> None:
    views = view(len(LONG), LONG, 1, 2) + view(13, LONG, 0, 0) + view(12, b"twelve bytes")
    buffers = [None, views, LONG[:13], b"??" + LONG, i64(13, len(LONG) + 2)]
    stats.update(shown(released, b"vu", released.array(buffers, 3)))
    assert {key.encode(): n for key, n in stats.items()} == {LONG: 1, LONG[:13]: 1, b"twelve bytes": 1}
    assert (released.schemas, released.arrays) == (1, 1)


@pytest.mark.parametrize("format", [b"u", b"U", b"vu", b"I"])
@pytest.mark.parametrize("buffers", [None, [], [None] * 3])
def test_an_empty_column_needs_no_buffers(
    stats: CRDTStatsStore, released: Released, format: bytes, buffers: Any
) -> None:
    stats.update(shown(released, format, released.array(buffers, 0, null_count=-1)))
    stats.update(shown(released, format, released.array(buffers, 0)), [])
    assert dict(stats.items()) == {}
    assert (released.schemas, released.arrays) == (2, 2)


GOOD = [None, i32(0, 1, 2), b"ab"]
WRONG: list[tuple[bytes, Sequence[bytes | None] | None, int, dict[str, Any], str]] = [
    (b"u", GOOD, -1, {}, "below 0"),
    (b"u", GOOD, 2, {"offset": -1}, "below 0"),
    (b"u", GOOD, 2**63 - 1, {"offset": 2**63 - 1}, "longer than memory"),
    (b"u", GOOD, 2**62, {}, "longer than memory"),
    (b"vu", [None, view(1, b"a"), None], 2**63 - 1, {"offset": 2**62}, "longer than memory"),
    (b"I", [None, i32(1)], 2**62, {}, "longer than memory"),
    (b"u", None, 2, {}, "buffer 1 is missing"),
    (b"u", None, 2, {"n_buffers": 3}, "buffer 1 is missing"),
    (b"u", GOOD, 2, {"n_buffers": -1}, "buffer 1 is missing"),
    (b"u", GOOD, 2, {"n_buffers": 2}, "buffer 2 is missing"),
    (b"u", [None, None, b"ab"], 2, {}, "buffer 1 is missing"),
    (b"u", [None, i32(0, 1, 2), None], 2, {}, "buffer 2 is missing"),
    (b"I", [None, None], 1, {}, "buffer 1 is missing"),
    (b"u", GOOD, 2, {"null_count": 1}, "without a validity bitmap"),
    (b"u", [b"\x01", *GOOD[1:]], 2, {"null_count": -1}, "null at row 1"),
    (b"u", [b"\x02", *GOOD[1:]], 2, {"null_count": 2}, "null at row 0"),
    (b"u", [None, i32(0, -1, 2), b"ab"], 2, {}, "below 0"),
    (b"u", [None, i32(-1, 1, 2), b"ab"], 2, {}, "below 0"),
    (b"u", [None, i32(0, 1, -2), b"ab"], 2, {}, "below 0"),
    (b"U", [None, i64(0, 1, -(2**63)), b"ab"], 2, {}, "below 0"),
    (b"u", [None, i32(0, 2, 1), b"ab"], 2, {}, "go down"),
    (b"u", [None, i32(1, 0, 2), b"ab"], 2, {}, "go down"),
    (b"u", [None, i32(2, 2, 1), b"ab"], 2, {}, "go down"),
    (b"u", [None, i32(0, 1, 2), b"a\xff"], 2, {}, "UTF-8"),
    (b"u", [None, i32(0, 1, 2), "ä".encode()], 2, {}, "UTF-8"),
    (b"vu", [None, view(1, b"\xff"), None], 1, {}, "UTF-8"),
    (b"vu", [None, view(1, b"a")], 1, {}, "without the sizes"),
    (b"vu", [None, view(1, b"a"), None], 1, {"n_buffers": 2**62}, "longer than memory"),
    (b"vu", [None, view(-1), None], 1, {}, "below 0"),
    (b"vu", [None, view(-(2**31)), None], 1, {}, "below 0"),
    (b"vu", [None, view(13), None], 1, {}, "outside its buffer"),
    (b"vu", [None, view(13, index=-1), LONG, i64(22)], 1, {}, "below 0"),
    (b"vu", [None, view(13, index=1), LONG, i64(22)], 1, {}, "outside its buffer"),
    (b"vu", [None, view(13, offset=-1), LONG, i64(22)], 1, {}, "below 0"),
    (b"vu", [None, view(13, offset=10), LONG, i64(22)], 1, {}, "outside its buffer"),
    (b"vu", [None, view(2**31 - 1, offset=2**31 - 1), LONG, i64(22)], 1, {}, "outside its buffer"),
    (b"vu", [None, view(13), LONG, i64(-1)], 1, {}, "below 0"),
    (b"vu", [None, view(13), LONG, i64(12)], 1, {}, "outside its buffer"),
    (b"vu", [None, view(13), LONG, None], 1, {}, "buffer 3 is missing"),
    (b"vu", [None, view(13), None, i64(22)], 1, {}, "buffer 2 is missing"),
    (b"l", [None, i64(1)], 1, {}, "int64"),
    (b"z", GOOD, 2, {}, "binary"),
    (b"+s", [None], 2, {}, "columns"),
    (b"+w:3", [None], 2, {}, "nested"),
    (b"\xff\xfe", GOOD, 2, {}, "not"),
    (b"", GOOD, 2, {}, "not"),
    (b"u", [None, i32(0, 1, 1), b"a"], 2, {}, "key"),
]


@pytest.mark.parametrize(("format", "buffers", "length", "more", "says"), WRONG)
def test_the_wrong_ones_are_refused_and_released(
    stats: CRDTStatsStore,
    released: Released,
    format: bytes,
    buffers: Any,
    length: int,
    more: dict[str, Any],
    says: str,
) -> None:
    with pytest.raises(UsageError, match=says):
        stats.update(shown(released, format, released.array(buffers, length, **more)))
    assert (released.schemas, released.arrays) == (1, 1)
    with pytest.raises(UsageError):
        stats.ids(shown(released, format, released.array(buffers, length, **more)))
    assert (released.schemas, released.arrays) == (2, 2)
    if format != b"l":
        with pytest.raises(UsageError):
            stats.update(["a"], shown(released, format, released.array(buffers, length, **more)))
        assert (released.schemas, released.arrays) == (3, 3)
    assert stats.total() == 0


def test_a_column_without_a_type_or_with_a_dictionary_is_refused(
    stats: CRDTStatsStore, released: Released
) -> None:
    with pytest.raises(UsageError, match="format"):
        stats.update(shown(released, None, released.array(GOOD, 2)))
    with pytest.raises(UsageError, match="dictionary"):
        stats.update(shown(released, b"i", released.array([None, i32(0)], 1), has_dictionary=True))
    assert (released.schemas, released.arrays, stats.total()) == (2, 2, 0)


def test_what_comes_after_the_column_releases_it_too(stats: CRDTStatsStore, released: Released) -> None:
    for n in range(2):
        stats.update(["a"], [2**63 - 1])
        column = shown(released, b"u", released.array(GOOD, 2))
        if n == 0:
            stats.update(column)
        else:
            with pytest.raises(CounterOverflowError):
                stats.update(column, [1, 1])
    with pytest.raises(UsageError, match="2 rows, but 1 amounts"):
        stats.update(shown(released, b"u", released.array(GOOD, 2)), [1])
    with pytest.raises(UsageError, match="float"):
        stats.update(shown(released, b"u", released.array(GOOD, 2)), [1, 1.0])
    with pytest.raises(UsageError, match="iterable"):
        stats.update(5, shown(released, b"l", released.array([None, i64(1)], 1)))  # pyright: ignore
    assert (released.schemas, released.arrays) == (5, 5)
    assert dict(stats.items()) == {"a": 2**64 - 1, "b": 1}


def test_capsules_that_are_none(stats: CRDTStatsStore, released: Released) -> None:
    def schema() -> Any:
        return released.capsule(released.schema(b"u"), b"arrow_schema")

    def array() -> Any:
        return released.capsule(released.array(GOOD, 2), b"arrow_array")

    class Odd:
        def __init__(self, gives: Any) -> None:
            self._gives = gives

        def __arrow_c_array__(self, requested_schema: object | None = None) -> Any:
            return self._gives

    used = (schema(), array())
    stats.update(Odd(used))
    odd = [None, 5, (), (schema(),), [schema(), array()], (schema(), array(), 1), (1, 2), (array(), schema())]
    unnamed = released.capsule(released.array(GOOD, 2), b"another name")
    for gives in [*odd, used, (schema(), unnamed)]:
        with pytest.raises(UsageError, match="Arrow column: "):
            stats.update(Odd(gives))
    # Taken is the schema beside the array that could not be; who was not asked for stays with its capsule.
    assert (released.schemas, released.arrays) == (2, 1)
    assert dict(stats.items()) == {"a": 1, "b": 1}


def test_streams_in_chunks(stats: CRDTStatsStore, released: Released) -> None:
    def stream(count: int, **more: Any) -> ShownStream:
        arrays = [released.array(GOOD, 2) for _ in range(count)]
        made = released.stream(released.schema(b"u"), arrays, **more)
        return ShownStream(released.capsule(made, b"arrow_array_stream"))

    for count in range(4):
        stats.update(stream(count))
    assert dict(stats.items()) == {"a": 6, "b": 6}
    assert (released.streams, released.schemas, released.arrays) == (4, 4, 6)

    with pytest.raises(UsageError, match="its own words"):
        stats.update(stream(1, fails_at=-1, says=b"its own words"))
    assert (released.streams, released.schemas, released.arrays) == (5, 4, 6)
    with pytest.raises(UsageError, match="error 5"):
        stats.update(stream(3, fails_at=2))
    assert (released.streams, released.schemas, released.arrays) == (6, 5, 8)
    assert stats.total() == 12


def test_a_stream_that_is_none(stats: CRDTStatsStore, released: Released) -> None:
    made = released.stream(released.schema(b"u"), [])
    capsule = released.capsule(made, b"arrow_array_stream")
    stats.update(ShownStream(capsule))
    for wrong in (capsule, None, released.capsule(released.schema(b"u"), b"arrow_schema")):
        with pytest.raises(UsageError, match="Arrow column: "):
            stats.update(ShownStream(wrong))
    assert (released.streams, released.schemas) == (1, 1)
