"""Framing between client and child."""

import pytest

from crdtstats.errors import InternalError
from crdtstats.network.frames import FRAME_BYTES_MAX, FrameReader, Kind, frame, pack, unpack


@pytest.mark.parametrize("items", [[], [b""], [b"a", b"", b"bc" * 1000]])
def test_items_come_back(items):
    assert unpack(pack(items)) == items
    assert unpack(b"1234" + pack(items), 4) == items


@pytest.mark.parametrize("cut", [1, 3, 4, 5])
def test_a_list_cut_short_is_refused(cut):
    with pytest.raises(ValueError, match="cut short"):
        unpack(pack([b"ab"])[:-cut] or b"\0")


@pytest.mark.parametrize("step", [1, 2, 5, 7, 1000])
def test_frames_come_whole_whatever_the_pieces(step):
    sent = [(Kind.WANT, b"x" * size) for size in (0, 1, 4, 5, 300)] + [(Kind.STOP, b"")]
    stream = b"".join(frame(kind, payload) for kind, payload in sent)
    reader = FrameReader()
    got = [f for start in range(0, len(stream), step) for f in reader.feed(stream[start : start + step])]
    assert got == sent


def test_parts_are_joined():
    assert list(FrameReader().feed(frame(Kind.LOG, b"a", b"", b"bc"))) == [(Kind.LOG, b"abc")]


@pytest.mark.parametrize("size", [0, FRAME_BYTES_MAX + 1, 0xFFFFFFFF])
def test_an_impossible_length_is_refused(size):
    with pytest.raises(ValueError, match="frame of"):
        list(FrameReader().feed(size.to_bytes(4, "big") + b"\1"))


def test_an_oversized_frame_is_never_sent():
    with pytest.raises(InternalError, match="FRAME_BYTES_MAX"):
        frame(Kind.WALKED, bytes(FRAME_BYTES_MAX))
