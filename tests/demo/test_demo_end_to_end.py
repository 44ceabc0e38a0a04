"""The demo as a user runs it: the command, real stores, real libp2p."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.demo.made_repository import Git

pytest.importorskip("crdtstats._core", reason="the extension is not built")
pytest.importorskip("libp2p", reason="the extra [p2p] is not installed")
pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]


def start(repo: Path, tmp_path: Path, *arguments: str, settings: str = "") -> subprocess.Popen[str]:
    (tmp_path / "gitconfig").write_text(settings)
    (tmp_path / "tmp").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "crdtstats", "demo", "--repo", str(repo), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"),
            "TMPDIR": str(tmp_path / "tmp"),
        },
    )


def left_behind(tmp_path: Path) -> list[str]:
    """Processes of this test that still run (they share its TMPDIR), and what lies there."""
    mine = f"TMPDIR={tmp_path / 'tmp'}".encode()
    found = os.listdir(tmp_path / "tmp")
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mine in (place / "environ").read_bytes().split(b"\0"):
                found.append((place / "cmdline").read_bytes().decode())
    return found


def nothing_left(tmp_path: Path) -> bool:
    until = time.monotonic() + 10
    while left_behind(tmp_path) and time.monotonic() < until:
        time.sleep(0.1)
    return left_behind(tmp_path) == []


def test_a_history_of_every_kind_converges_for_a_user_with_odd_settings(built: Git, tmp_path: Path) -> None:
    settings = "[log]\n showRoot = false\n[diff]\n renames = copies\n relative = true\n"
    with start(built.path / "src", tmp_path, settings=settings) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert re.fullmatch(
        r"converged: 3 replicas, \d+ keys, \d+ increments, totals equal git", out.splitlines()[-1]
    )
    assert nothing_left(tmp_path)


def test_the_json_object(built: Git, tmp_path: Path) -> None:
    with start(built.path, tmp_path, "--json", "--replicas", "4", "--dir", str(tmp_path / "kept")) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    said = json.loads(out)
    assert err == ""
    assert (said["replicas"], said["converged"], said["matches_git"]) == (4, True, True)
    assert said["kill9_survived"] >= 2
    assert all(said[name] > 0 for name in ("keys", "increments", "ingest_per_s", "converge_s", "disk_bytes"))
    assert all(row["blocks"] > 0 for row in said["per_replica"])
    assert (tmp_path / "kept" / "replica-4").is_dir()
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_behind(
    built: Git, tmp_path: Path, number: signal.Signals
) -> None:
    with start(built.path, tmp_path) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "counting" in line:
                break
        process.send_signal(number)
        out, err = process.communicate()
    assert process.returncode == 128 + number
    assert out == ""
    assert "Traceback" not in err
    assert nothing_left(tmp_path)


def test_a_single_commit_is_too_few_for_three(tmp_path: Path) -> None:
    git = Git(tmp_path / "repo")
    git.commit("one")
    with start(git.path, tmp_path) as process:
        out, err = process.communicate()
    assert process.returncode == 2
    assert out == ""
    assert "--replicas" in err.splitlines()[-1]
    assert nothing_left(tmp_path)
