"""A crash at any step of an open leaves a directory that opens again, with no key lost and none doubled."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from crdtstats import _core
from crdtstats.directory import DataDirectory
from tests.directory.child import in_child

STEPS = ("mkdir", "open", "write", "fsync", "rename", "unlink", "close")
STEPS_MAX = 200
CRASHED = 99


def crash_at(step: int, call: Callable[[], object]) -> bool:
    """Run ``call`` in a process that is gone at its ``step``-th call to the file system; False: it came through."""
    pid = os.fork()
    if pid == 0:
        left = [step]

        def counted(original):
            def run(*arguments, **named):
                left[0] -= 1
                if left[0] < 0:
                    os._exit(CRASHED)
                return original(*arguments, **named)

            return run

        try:
            for name in STEPS:
                setattr(os, name, counted(getattr(os, name)))
            call()
        except BaseException:  # noqa: BLE001 - the parent reports
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, CRASHED), f"step {step}: the child failed"
    return code == CRASHED


def every_crash(
    directory: Path, prepare: Callable[[], None], call: Callable[[], object], check: Callable[[int], None]
):
    for step in range(STEPS_MAX):
        shutil.rmtree(directory, ignore_errors=True)
        prepare()
        crashed = crash_at(step, call)
        check(step)
        if not crashed:
            return step
    raise AssertionError("more steps than expected")


def leftovers(directory: Path) -> list[str]:
    return [name for where, _, names in os.walk(directory) for name in names if name.endswith(".tmp")]


def test_a_crash_of_the_first_open_is_harmless(tmp_path: Path) -> None:
    directory = tmp_path / "d"

    def check(step: int) -> None:
        with DataDirectory.open(directory, network_topic="/crdtstats/1/x") as found:
            peer_id = found.identity.peer_id
            assert leftovers(directory) == [], step
        with DataDirectory.open(directory) as found:
            assert (found.identity.peer_id, found.topic) == (peer_id, "/crdtstats/1/x"), step

    steps = every_crash(
        directory, lambda: None, lambda: DataDirectory.open(directory, network_topic="/crdtstats/1/x"), check
    )
    assert steps > 20


@pytest.mark.parametrize("why", ["copied", "rotated"])
def test_a_crash_while_the_identity_is_replaced_loses_no_key_and_keeps_no_place(
    why: str, tmp_path: Path
) -> None:
    original, directory = tmp_path / "original", tmp_path / "d"
    with DataDirectory.open(original) as found:
        first = found.identity.peer_id
        if why == "rotated":
            found.rotate_identity()

    def check(step: int) -> None:
        with DataDirectory.open(directory) as found:
            assert found.identity.peer_id != first, step
            assert found.key_of(first, "j").peer_id == first, step
            assert leftovers(directory) == [], step
            peer_id, keys = found.identity.peer_id, set(found.keys())
        with DataDirectory.open(directory) as found:
            assert (found.identity.peer_id, set(found.keys())) == (peer_id, keys), step

    steps = every_crash(
        directory, lambda: shutil.copytree(original, directory), lambda: DataDirectory.open(directory), check
    )
    assert steps > 10


def test_a_crash_while_an_identity_from_outside_moves_in_loses_no_key(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    identity = _core.Identity.generate()
    own: list[str] = []

    def prepare() -> None:
        with DataDirectory.open(directory) as found:
            own[:] = [found.identity.peer_id]

    def check(step: int) -> None:
        with DataDirectory.open(directory, identity=identity.to_bytes()) as found:
            assert found.identity.peer_id == identity.peer_id, step
            assert found.key_of(own[0], "j").peer_id == own[0], step

    every_crash(
        directory, prepare, lambda: DataDirectory.open(directory, identity=identity.to_bytes()), check
    )


def test_a_crash_while_a_rotation_is_asked_for_leaves_an_identity(tmp_path: Path) -> None:
    directory = tmp_path / "d"

    def rotate() -> None:
        DataDirectory.open(directory).rotate_identity()

    every_crash(
        directory,
        lambda: DataDirectory.open(directory).close(),
        rotate,
        lambda _: in_child(lambda: DataDirectory.open(directory).close()),
    )
