"""What a data directory is made of, and what is refused."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from crdtstats import _core
from crdtstats.directory import DataDirectory
from crdtstats.errors import ClosedError, DataError, UnavailableError, UsageError
from tests.directory.child import in_child

NOBODY = 65534


def modes(path: Path) -> dict[str, int]:
    return {name: stat.S_IMODE(os.lstat(path / name).st_mode) for name in os.listdir(path)}


def test_a_new_directory_is_private_and_complete(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with DataDirectory.open(tmp_path / "d") as directory:
            assert stat.S_IMODE(os.stat(directory.path).st_mode) == 0o700
            files = dict.fromkeys(("format", "lock", "identity", "place", "network"), 0o600)
            assert modes(directory.path) == files | {"keys": 0o700, "journal": 0o700}
            assert directory.topic == "/crdtstats/1/default"
            assert directory.journal_dir.is_dir()
            assert not directory.blocks_path.exists()
            assert directory.keys() == {}
    finally:
        os.umask(old)


def test_the_stored_identity_is_libp2ps_form_of_an_ed25519_key(tmp_path: Path) -> None:
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    with DataDirectory.open(tmp_path / "d") as directory:
        data = (directory.path / "identity").read_bytes()
        assert data[:4] == bytes.fromhex("08011240")
        key = ed25519.Ed25519PrivateKey.from_private_bytes(data[4:36])
        assert key.public_key().public_bytes_raw() == data[36:]
        assert key.sign(b"x") == directory.identity.sign(b"x")


def test_a_directory_opens_again_as_it_was(tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path / "d", network_topic="/crdtstats/1/x") as directory:
        peer_id = directory.identity.peer_id
        before = {
            name: (directory.path / name).read_bytes() for name in ("identity", "place", "network", "format")
        }
    for topic in (None, "/crdtstats/1/x"):
        with DataDirectory.open(str(tmp_path / "d"), network_topic=topic) as directory:
            assert directory.identity.peer_id == peer_id
            assert directory.topic == "/crdtstats/1/x"
            assert directory.replaced is None
            assert before == {name: (directory.path / name).read_bytes() for name in before}


def test_another_network_is_refused_and_named(tmp_path: Path) -> None:
    DataDirectory.open(tmp_path / "d", network_topic="/crdtstats/1/a").close()
    with pytest.raises(UsageError, match=r"bound to the network /crdtstats/1/a, not /crdtstats/1/b"):
        DataDirectory.open(tmp_path / "d", network_topic="/crdtstats/1/b")
    DataDirectory.open(tmp_path / "d").close()


def test_a_directory_in_use_names_its_holder(tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path / "d"):
        with pytest.raises(UnavailableError, match=rf"process {os.getpid()} \(this one\)"):
            DataDirectory.open(tmp_path / "d")
        code = "import sys; from crdtstats.directory import DataDirectory as D; D.open(sys.argv[1])"
        other = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "d")],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert f"UnavailableError: {tmp_path / 'd'} is in use by process {os.getpid()}:" in other.stderr
    assert (tmp_path / "d" / "lock").exists()
    DataDirectory.open(tmp_path / "d").close()


def test_a_dropped_directory_is_free_again(tmp_path: Path) -> None:
    DataDirectory.open(tmp_path / "d")
    DataDirectory.open(tmp_path / "d").close()


def test_after_close_every_call_raises_closed(tmp_path: Path) -> None:
    directory = DataDirectory.open(tmp_path / "d")
    directory.close()
    directory.close()
    assert directory.closed
    for call in (lambda: directory.identity, directory.keys, directory.disk_bytes, directory.rotate_identity):
        with pytest.raises(ClosedError, match="is closed"):
            call()


def test_a_directory_replaced_while_locked_is_locked_anew(tmp_path: Path) -> None:
    first = DataDirectory.open(tmp_path / "d")
    shutil.rmtree(tmp_path / "d")
    with DataDirectory.open(tmp_path / "d") as second:
        first.close()
        assert not second.closed
        with pytest.raises(UnavailableError):
            DataDirectory.open(tmp_path / "d")


def test_a_directory_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds other files \('notes.txt'\)"):
        DataDirectory.open(tmp_path)
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_an_empty_mounted_directory_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    os.chmod(tmp_path, 0o750)
    DataDirectory.open(tmp_path).close()
    assert stat.S_IMODE(os.stat(tmp_path).st_mode) == 0o750


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="not a directory"):
        DataDirectory.open(tmp_path / "file")
    with pytest.raises(UsageError, match="can be no directory"):
        DataDirectory.open(tmp_path / "file" / "d")
    with pytest.raises(UsageError, match="does not exist"):
        DataDirectory.open(tmp_path / "missing" / "d")


def test_a_link_to_a_directory_is_followed(tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path / "d") as directory:
        peer_id = directory.identity.peer_id
    (tmp_path / "link").symlink_to("d")
    with DataDirectory.open(tmp_path / "link") as directory:
        assert directory.path == tmp_path / "d"
        assert directory.identity.peer_id == peer_id


@pytest.mark.parametrize("name", ["lock", "identity", "network", "format", "keys", "journal"])
def test_a_link_inside_is_refused_for_a_copy_would_share_it(name: str, tmp_path: Path) -> None:
    DataDirectory.open(tmp_path / "d").close()
    (tmp_path / "d" / name).rename(tmp_path / name)
    (tmp_path / "d" / name).symlink_to(tmp_path / name)
    with pytest.raises(DataError, match=name):
        DataDirectory.open(tmp_path / "d")
    (tmp_path / "d" / name).unlink()
    (tmp_path / name).rename(tmp_path / "d" / name)
    DataDirectory.open(tmp_path / "d").close()


@pytest.mark.parametrize("name", ["identity", "network", "format"])
@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 64, b"{", b"[]", b'{"topic": 1, "format": true}', b"x" * 9000, b"[" * 4000]
)
def test_a_damaged_file_is_named(name: str, data: bytes, tmp_path: Path) -> None:
    DataDirectory.open(tmp_path / "d").close()
    (tmp_path / "d" / name).write_bytes(data)
    with pytest.raises(DataError, match=f"/{name} ") as caught:
        DataDirectory.open(tmp_path / "d")
    assert caught.value.path == str(tmp_path / "d" / name)


def test_a_pipe_instead_of_a_file_holds_up_nothing(tmp_path: Path) -> None:
    DataDirectory.open(tmp_path / "d").close()
    (tmp_path / "d" / "network").unlink()
    os.mkfifo(tmp_path / "d" / "network")
    with pytest.raises(DataError, match="not a regular file"):
        DataDirectory.open(tmp_path / "d")


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    DataDirectory.open(tmp_path / "d").close()
    (tmp_path / "d" / "format").write_text('{"format": 2}')
    with pytest.raises(
        DataError, match=r"newer version of crdtstats \(format 2, this one knows 1\): upgrade"
    ):
        DataDirectory.open(tmp_path / "d")


def test_a_missing_format_beside_an_identity_is_damage(tmp_path: Path) -> None:
    DataDirectory.open(tmp_path / "d").close()
    (tmp_path / "d" / "format").unlink()
    with pytest.raises(DataError, match="'format' is missing"):
        DataDirectory.open(tmp_path / "d")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_directory_of_somebody_else_is_unavailable(tmp_path: Path) -> None:
    DataDirectory.open(tmp_path / "d").close()

    def as_nobody(path: Path) -> str:
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
        with pytest.raises(UnavailableError) as caught:
            DataDirectory.open(path)
        return str(caught.value)

    assert "this user may not write there" in in_child(lambda: as_nobody(tmp_path / "d"))
    assert "this user may not write there" in in_child(lambda: as_nobody(tmp_path / "new"))


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EROFS, "read-only"),
        (errno.ENOSPC, "full"),
        (errno.EDQUOT, "quota"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_what_the_disk_refuses_is_unavailable_and_says_why(
    number: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(UnavailableError, match=said) as caught:
            DataDirectory.open(tmp_path / "d")
    assert caught.value.errno == number
    with DataDirectory.open(tmp_path / "d") as directory:  # and nothing of the failure stays, no lock either
        assert not [name for name in os.listdir(directory.path) if name.startswith(".")]


def test_disk_bytes_counts_what_files_take(tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path / "d") as directory:
        before = directory.disk_bytes()
        with open(directory.journal_dir / "x", "wb") as file:
            file.write(b"x" * 100_000)
            file.truncate(10_000_000)
            file.flush()
            os.fsync(file.fileno())
        assert 100_000 <= directory.disk_bytes() - before < 1_000_000


def test_a_failed_open_leaves_no_descriptor(tmp_path: Path) -> None:
    DataDirectory.open(tmp_path / "d").close()
    before = len(os.listdir("/proc/self/fd"))
    for identity in (b"junk", None):
        with pytest.raises(UsageError):
            DataDirectory.open(tmp_path / "d", network_topic="/other", identity=identity)
    (tmp_path / "d" / "identity").write_bytes(b"junk")
    with pytest.raises(DataError):
        DataDirectory.open(tmp_path / "d")
    with DataDirectory.open(tmp_path / "e"), pytest.raises(UnavailableError):
        DataDirectory.open(tmp_path / "e")
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_lock_is_on_no_descriptor_that_exec_hands_on(tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path / "d") as directory:
        assert not os.get_inheritable(directory._lock.fd)
    assert _core.fork_epoch() >= 0
