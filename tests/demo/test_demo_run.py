"""The driver, with stores that are no stores: kills, differences, time-outs, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crdtstats.demo.command import run
from crdtstats.demo.driver import NotConvergedError
from crdtstats.errors import DataError, UnavailableError, UsageError
from tests.demo.made_repository import Git, lines, stand_in_key

FAKE = "fake_store:open_fake"


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), here))))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))


def demo(repo: Path, *, replicas: int = 3, as_json: bool = True, **more: object) -> int:
    options = {"timeout_s": 20.0, "directory": None, "opener": FAKE, "make_key": stand_in_key, **more}
    return run(repo=str(repo), replicas=replicas, as_json=as_json, **options)  # type: ignore[arg-type]


def left_behind(tmp_path: Path) -> list[str]:
    """Replicas of this test that still run, and what lies in its temporary directory."""
    mine = f"TMPDIR={tmp_path / 'tmp'}".encode()
    processes = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            arguments = (place / "cmdline").read_bytes()
            if b"demo.replica" in arguments and mine in (place / "environ").read_bytes().split(b"\0"):
                processes.append(arguments.decode())
    return processes + os.listdir(tmp_path / "tmp")


def test_the_json_object_holds_what_was_promised(
    built: Git, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo(built.path) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["replicas"] == 3
    assert said["converged"] is True
    assert said["matches_git"] is True
    assert said["kill9_survived"] >= 2
    assert said["kills"][0]["when"] == "half of its share done"
    assert said["kills"][-1]["when"] == "flushing"
    assert said["kills"][-1]["hit"]
    assert said["increments"] == sum(row["increments"] for row in said["per_replica"])
    assert said["ingest_per_s"] > 0
    assert said["converge_s"] > 0
    assert said["disk_bytes"] > 0
    assert said["refused_keys"] == 4
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_the_last_line_says_it_all(
    built: Git, tmp_path: Path, capsys: pytest.CaptureFixture[str], replicas: int
) -> None:
    assert demo(built.path, replicas=replicas, as_json=False) == 0
    last = capsys.readouterr().out.splitlines()[-1].split()
    assert last[:3] == ["converged:", str(replicas), "replicas,"]
    assert last[4::2] == ["keys,", "increments,", "equal"]
    assert " ".join(last[-3:]) == "totals equal git"
    assert left_behind(tmp_path) == []


def test_a_share_of_one_element_survives_both_kills(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git = Git(tmp_path / "repo")
    git.commit("empty", author="x")
    assert demo(git.path, replicas=1) == 0
    assert json.loads(capsys.readouterr().out)["increments"] == 1


def test_kept_data_is_where_it_was_asked_for(built: Git, tmp_path: Path) -> None:
    assert demo(built.path, directory=str(tmp_path / "kept")) == 0
    assert (tmp_path / "kept" / "replica-3" / "log").exists()
    with pytest.raises(UsageError, match="not empty"):
        demo(built.path, directory=str(tmp_path / "kept"))


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("twice", NotConvergedError, r"first difference: '(authors|commits)"),
        ("mute", NotConvergedError, "first difference"),
        ("behind", DataError, "elements acknowledged, and goes on at"),
        ("dies", UnavailableError, "ended by itself"),
    ],
)
def test_a_fault_is_an_error_that_names_it(
    built: Git,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    error: type[Exception],
    message: str,
) -> None:
    monkeypatch.setenv("CRDTSTATS_FAKE_FAULT", fault)
    with pytest.raises(error, match=message):
        demo(built.path, timeout_s=1.0)
    assert left_behind(tmp_path) == []


def test_too_many_replicas_for_a_short_history(tmp_path: Path) -> None:
    git = Git(tmp_path / "repo")
    git.write("a", lines(2))
    git.commit("one")
    with pytest.raises(UsageError, match="--replicas"):
        demo(git.path)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_demo_leaves_nothing_behind(
    built: Git, tmp_path: Path, number: signal.Signals
) -> None:
    program = (
        "import sys; from crdtstats.demo.command import run; from made_repository import stand_in_key\n"
        f"run(repo={str(built.path)!r}, replicas=3, timeout_s=60, directory=None, as_json=False,"
        f" opener={FAKE!r}, make_key=stand_in_key)"
    )
    environment = {**os.environ, "CRDTSTATS_FAKE_FAULT": "mute"}
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, env=environment)
    assert process.stderr is not None
    with process:
        for line in process.stderr:
            if b"agree" in line:
                break
        process.send_signal(number)
        process.stderr.read()
    until = time.monotonic() + 10
    expected = os.listdir(tmp_path / "tmp") if number == signal.SIGKILL else []
    while left_behind(tmp_path) != expected and time.monotonic() < until:
        time.sleep(0.05)
    assert left_behind(tmp_path) == expected
