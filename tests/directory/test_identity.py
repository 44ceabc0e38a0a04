"""Which identity a directory has: in its place, as a copy, restored, rotated, from outside."""

from __future__ import annotations

import json
import logging
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from crdtstats import _core
from crdtstats.directory import DataDirectory
from crdtstats.errors import DataError, UsageError

RSA_KEY = bytes([0x08, 0x00, 0x12, 0x04]) + b"abcd"


def opened(path: Path, **arguments) -> tuple[str, str | None, set[str]]:
    """(peer id, replaced peer id, older peer ids) of one open."""
    with DataDirectory.open(path, **arguments) as directory:
        return directory.identity.peer_id, directory.replaced, set(directory.keys())


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING, "crdtstats")

    def taken() -> list[str]:
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return found

    return taken


# ---- copies


@pytest.mark.parametrize("options", ["-r", "-a"])
def test_a_copy_takes_a_new_identity_once_and_keeps_the_old_key(
    options: str, tmp_path: Path, warnings
) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    first, _, _ = opened(original)
    subprocess.run(["cp", options, str(original), str(copy)], check=True)
    second, replaced, keys = opened(copy)
    assert second != first
    assert (replaced, keys) == (first, {first})
    (warning,) = warnings()
    assert "it is a copy" in warning
    assert first in warning
    assert second in warning
    assert opened(copy) == (second, None, {first})
    assert opened(original) == (first, None, set())
    assert warnings() == []
    assert stat.S_IMODE(os.stat(copy / "keys" / first).st_mode) == 0o600
    with DataDirectory.open(copy) as directory:
        assert directory.key_of(first, "j").sign(b"x") == _core.Identity(
            (original / "identity").read_bytes()
        ).sign(b"x")


def test_a_copy_of_a_copy_keeps_all_older_keys(tmp_path: Path) -> None:
    first, _, _ = opened(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    second, _, _ = opened(tmp_path / "b")
    shutil.copytree(tmp_path / "b", tmp_path / "c")
    third, _, keys = opened(tmp_path / "c")
    assert keys == {first, second}
    assert third not in keys


def test_a_moved_directory_is_the_same(tmp_path: Path, warnings) -> None:
    first, _, _ = opened(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    assert opened(tmp_path / "b") == (first, None, set())
    assert warnings() == []


def test_a_directory_restored_in_place_is_a_copy(tmp_path: Path) -> None:
    first, _, _ = opened(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "backup")
    shutil.rmtree(tmp_path / "a")
    shutil.copytree(tmp_path / "backup", tmp_path / "a")
    second, replaced, _ = opened(tmp_path / "a")
    assert second != first
    assert replaced == first


def test_an_older_backup_written_over_the_files_of_a_newer_identity_is_a_copy(tmp_path: Path) -> None:
    first, _, _ = opened(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "backup")
    with DataDirectory.open(tmp_path / "a") as directory:
        directory.rotate_identity()
    second, _, _ = opened(tmp_path / "a")
    for name in ("identity", "place"):  # the same files, other bytes
        (tmp_path / "a" / name).write_bytes((tmp_path / "backup" / name).read_bytes())
    third, replaced, keys = opened(tmp_path / "a")
    assert len({first, second, third}) == 3
    assert (replaced, keys) == (first, {first})


@pytest.mark.parametrize(
    "data", [None, b"", b"\x00" * 100, b"{}", b'{"peer_id": 1}', b"[" * 4000, b"x" * 9000]
)
def test_an_unknown_place_counts_as_another(data: bytes | None, tmp_path: Path, warnings) -> None:
    first, _, _ = opened(tmp_path / "a")
    if data is None:
        (tmp_path / "a" / "place").unlink()
    else:
        (tmp_path / "a" / "place").write_bytes(data)
    second, replaced, keys = opened(tmp_path / "a")
    assert second != first
    assert (replaced, keys) == (first, {first})
    assert "not known" in warnings()[0]


def test_a_lost_identity_is_said_and_replaced(tmp_path: Path, warnings) -> None:
    first, _, _ = opened(tmp_path / "a")
    (tmp_path / "a" / "identity").unlink()
    second, replaced, keys = opened(tmp_path / "a")
    assert second != first
    assert (replaced, keys) == (first, set())
    assert f"the key of {first} is missing" in warnings()[0]
    with (
        DataDirectory.open(tmp_path / "a") as directory,
        pytest.raises(DataError, match=r"j\.journal.*keys") as caught,
    ):
        directory.key_of(first, directory.journal_dir / "j.journal")
    assert caught.value.peer_id == first


def test_a_noticed_clone_takes_a_new_identity_at_the_next_open(tmp_path: Path, warnings) -> None:
    with DataDirectory.open(tmp_path / "a") as directory:
        first = directory.identity.peer_id
        directory.rotate_identity()
        directory.rotate_identity()
        assert directory.identity.peer_id == first
    assert warnings() == []
    second, replaced, keys = opened(tmp_path / "a")
    assert second != first
    assert (replaced, keys) == (first, {first})
    assert "a peer showed nodes" in warnings()[0]
    assert opened(tmp_path / "a") == (second, None, {first})


def test_a_key_that_others_can_read_is_closed_to_them(tmp_path: Path, warnings) -> None:
    first, _, _ = opened(tmp_path / "a")
    os.chmod(tmp_path / "a" / "identity", 0o644)
    assert opened(tmp_path / "a")[0] == first
    assert "was open to others" in warnings()[0]
    assert stat.S_IMODE(os.stat(tmp_path / "a" / "identity").st_mode) == 0o600


def test_a_damaged_older_key_is_said_and_stops_nothing(tmp_path: Path, warnings) -> None:
    peer_id, _, _ = opened(tmp_path / "a")
    (tmp_path / "a" / "keys" / "12D3KooWdamaged").write_bytes(b"junk")
    os.chmod(tmp_path / "a" / "keys" / "12D3KooWdamaged", 0o600)
    assert opened(tmp_path / "a") == (peer_id, None, set())
    assert "key left out" in warnings()[0]


def test_an_older_key_put_there_by_hand_is_found_whatever_its_name(tmp_path: Path) -> None:
    opened(tmp_path / "a")
    identity = _core.Identity.generate()
    (tmp_path / "a" / "keys" / "saved.key").write_bytes(identity.to_bytes())
    assert opened(tmp_path / "a")[2] == {identity.peer_id}


# ---- from outside


def test_an_identity_from_outside_is_used_and_never_stored(tmp_path: Path) -> None:
    identity = _core.Identity.generate()
    (tmp_path / "key").write_bytes(identity.to_bytes())
    for given in (identity.to_bytes(), str(tmp_path / "key"), tmp_path / "key"):
        assert opened(tmp_path / "d", identity=given) == (identity.peer_id, None, set())
    secret = identity.to_bytes()[4:36]
    for where, _, names in os.walk(tmp_path / "d"):
        for name in names:
            assert secret not in Path(where, name).read_bytes()
    assert json.loads((tmp_path / "d" / "place").read_bytes())["peer_id"] == identity.peer_id
    assert not (tmp_path / "d" / "identity").exists()


@pytest.mark.parametrize(
    "given", [b"", b"junk", RSA_KEY, bytes.fromhex("08011240") + bytes(64), 7, "/nowhere/key", "a\0b"]
)
def test_a_wrong_identity_from_outside_is_refused_before_anything_is_made(given, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="identity"):
        DataDirectory.open(tmp_path / "d", identity=given)
    assert not (tmp_path / "d").exists()


def test_without_the_identity_from_outside_the_directory_does_not_open(tmp_path: Path) -> None:
    identity = _core.Identity.generate()
    opened(tmp_path / "d", identity=identity.to_bytes())
    with pytest.raises(UsageError, match=f"{identity.peer_id} from outside: pass identity= again"):
        DataDirectory.open(tmp_path / "d")
    (tmp_path / "d" / "place").unlink()
    assert opened(tmp_path / "d")[0] != identity.peer_id


def test_another_identity_from_outside_leaves_journals_of_the_first_without_a_key(tmp_path: Path) -> None:
    first, second = _core.Identity.generate(), _core.Identity.generate()
    opened(tmp_path / "d", identity=first.to_bytes())
    assert opened(tmp_path / "d", identity=second.to_bytes()) == (second.peer_id, first.peer_id, set())
    with DataDirectory.open(tmp_path / "d", identity=second.to_bytes()) as directory:
        with pytest.raises(DataError, match=f"x.journal was counted as {first.peer_id}.*identity="):
            directory.key_of(first.peer_id, "x.journal")
        (directory.path / "keys" / first.peer_id).write_bytes(first.to_bytes())  # the remedy
        assert directory.key_of(first.peer_id, "x.journal").peer_id == first.peer_id
        assert directory.key_of(second.peer_id, "x.journal").peer_id == second.peer_id


def test_an_identity_from_outside_puts_our_own_key_aside(tmp_path: Path) -> None:
    own, _, _ = opened(tmp_path / "d")
    identity = _core.Identity.generate()
    for replaced in (own, None):
        assert opened(tmp_path / "d", identity=identity.to_bytes()) == (identity.peer_id, replaced, {own})
    assert opened(tmp_path / "d", identity=tmp_path / "d" / "keys" / own)[0] == own


def test_our_own_key_given_from_outside_changes_nothing(tmp_path: Path, warnings) -> None:
    own, _, _ = opened(tmp_path / "d")
    assert opened(tmp_path / "d", identity=tmp_path / "d" / "identity") == (own, None, set())
    assert opened(tmp_path / "d") == (own, None, set())
    assert warnings() == []
    shutil.copytree(tmp_path / "d", tmp_path / "copy")
    assert opened(tmp_path / "copy", identity=tmp_path / "copy" / "identity")[0] == own
    assert "as told" in warnings()[0]


def test_a_copy_with_an_identity_from_outside_is_said_once(tmp_path: Path, warnings) -> None:
    identity = _core.Identity.generate()
    opened(tmp_path / "d", identity=identity.to_bytes())
    shutil.copytree(tmp_path / "d", tmp_path / "copy")
    assert opened(tmp_path / "copy", identity=identity.to_bytes())[0] == identity.peer_id
    assert "do not run the original too" in warnings()[0]
    opened(tmp_path / "copy", identity=identity.to_bytes())
    assert warnings() == []


def test_a_clone_of_an_identity_from_outside_is_only_said(tmp_path: Path, warnings) -> None:
    identity = _core.Identity.generate()
    with DataDirectory.open(tmp_path / "d", identity=identity.to_bytes()) as directory:
        directory.rotate_identity()
    assert "in use elsewhere" in warnings()[0]
    assert opened(tmp_path / "d", identity=identity.to_bytes())[0] == identity.peer_id
