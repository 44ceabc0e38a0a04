"""Runs a function in a forked child and gives what it returned; the child never returns into the test."""

from __future__ import annotations

import ctypes
import os
import pickle
import select
import signal
import traceback
from collections.abc import Callable
from typing import Any

CHILD_S_MAX = 30.0

_C = ctypes.PyDLL(None)


def fork_in_python() -> int:
    return os.fork()


def fork_in_c() -> int:
    """Python's fork hooks hear nothing of this one."""
    return _C.fork()


def in_child(call: Callable[[], Any], fork: Callable[[], int] = fork_in_python) -> Any:
    """What ``call()`` returned in a child. Its exception is raised here as AssertionError with the traceback."""
    from_child, to_parent = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            answer = (True, call())
        except BaseException:  # noqa: BLE001 - all of it is reported to the parent
            answer = (False, traceback.format_exc())
        os.write(to_parent, pickle.dumps(answer))
        os._exit(0)
    os.close(to_parent)
    try:
        ready, _, _ = select.select([from_child], [], [], CHILD_S_MAX)
        if not ready:
            os.kill(pid, signal.SIGKILL)
        data = os.read(from_child, 65536)
    finally:
        os.close(from_child)
        os.waitpid(pid, 0)
    assert data, "the child ended, or was ended, without an answer"
    good, answer = pickle.loads(data)
    assert good, answer
    return answer
