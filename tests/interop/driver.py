"""A replica in a process of its own that takes JSON lines: the Go peer, or one of ours. Every wait has an end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crdtstats import CRDTStatsStore

ANSWER_S = 20.0
READY_S = 60.0
"""Beside a compiler that takes all processors the network child needs more than ten seconds to start."""
END_S = 10.0
EVENTS_MAX = 100_000
PYTHON_PEER = Path(__file__).with_name("python_peer.py")


class PeerError(Exception):
    """What the other process answered instead of a result."""


class PeerProcess:
    """Starts ``command`` and talks to it. ``call`` waits for the answer, ``begin`` gives its future."""

    def __init__(self, command: Sequence[str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        self._answers: dict[int, Future[Any]] = {}
        self._changed = threading.Condition()
        self._number = 0
        self._ended = False
        self.events: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        ready = self.wait_event(lambda event: event["event"] in ("ready", "failed"), READY_S)
        if ready["event"] == "failed":
            self.kill()
            raise PeerError(ready["err"])
        self.peer_id: str = ready["peer"]
        self.addrs: list[str] = ready["addrs"]
        self.generation: str = ready.get("generation", "")

    @property
    def addr(self) -> str:
        return self.addrs[0]

    def begin(self, cmd: str, **arguments: Any) -> Future[Any]:
        """Ask; the process may answer other questions first."""
        return self._ask(cmd, {**arguments, "async": True})

    def call(self, cmd: str, timeout_s: float = ANSWER_S, **arguments: Any) -> Any:
        """The result. Raises ``PeerError`` when the peer says no, ``TimeoutError`` when it says nothing."""
        return self._ask(cmd, arguments).result(timeout_s)

    def _ask(self, cmd: str, arguments: dict[str, Any]) -> Future[Any]:
        answer: Future[Any] = Future()
        with self._changed:
            if self._ended:
                raise PeerError(f"it has ended: {self.last_words()}")
            self._number += 1
            self._answers[self._number] = answer
            line = json.dumps({"id": self._number, "cmd": cmd, **arguments}) + "\n"
            assert self._process.stdin is not None
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        return answer

    def wait_event(self, matches: Callable[[dict[str, Any]], bool], timeout_s: float = ANSWER_S) -> Any:
        """The first event, of those that came and those to come, that ``matches``."""
        found: list[dict[str, Any]] = []

        def seen() -> bool:
            found.extend(event for event in list(self.events) if matches(event))
            return bool(found) or self._ended

        with self._changed:
            assert self._changed.wait_for(seen, timeout_s), f"no such event within {timeout_s} s"
        assert found, f"it ended: {self.last_words()}"
        return found[0]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            with self._changed:
                if "event" in message:
                    self.events.append(message)
                    del self.events[:-EVENTS_MAX]
                    answer = None
                else:
                    answer = self._answers.pop(message["id"], None)
                self._changed.notify_all()
            if answer is not None and message["ok"]:
                answer.set_result(message.get("result"))
            elif answer is not None:
                answer.set_exception(PeerError(message["err"]))
        with self._changed:
            self._ended = True
            left, self._answers = self._answers, {}
            self._changed.notify_all()
        for answer in left.values():
            answer.set_exception(PeerError("it ended before it answered"))

    def last_words(self) -> str:
        """The end of what it wrote to stderr."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - 4000))
        return self._errors.read().decode(errors="replace")

    @property
    def alive(self) -> bool:
        return not self._ended and self._process.poll() is None

    def pause(self, paused: bool) -> None:
        """Stop the process without ending it, or let it go on."""
        self._process.send_signal(signal.SIGSTOP if paused else signal.SIGCONT)

    def kill(self) -> None:
        """``kill -9``, and wait until it is gone."""
        self._process.kill()
        self._end()

    def close(self) -> None:
        """Ask it to close, and kill it when it does not."""
        with contextlib.suppress(Exception):
            self.pause(False)
            self.call("close", END_S)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        self._process.kill()
        self._end()

    def _end(self) -> None:
        self._process.wait(END_S)
        self._reader.join(END_S)
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()


class GoPeer(PeerProcess):
    """The Go engine. Options are the flags of ``gopeer``, with ``_`` for ``-``; ``rebroadcast="1s"``."""

    troubled = False
    """The test feeds it what no engine likes: its log is not held against us."""

    def __init__(self, binary: Path, **options: Any) -> None:
        flags = [f"-{name.replace('_', '-')}={_flag(value)}" for name, value in options.items()]
        super().__init__([str(binary), *flags])

    def received(self, peer_id: str) -> list[bytes]:
        """Payloads that ``peer_id`` published, as they came in."""
        return [
            bytes.fromhex(event["data"])
            for event in list(self.events)
            if event["event"] == "received" and event["from"] == peer_id
        ]

    def sent(self) -> list[bytes]:
        """Payloads that the engine published itself."""
        return [bytes.fromhex(event["data"]) for event in list(self.events) if event["event"] == "sent"]

    def assert_healthy(self) -> None:
        """What an operator wants to see: a clean store, no error and nothing about dirt in the log."""
        log = self.call("log")
        assert (log["errors"], log["dirty"]) == (0, 0), log["lines"]
        assert not self.call("status")["dirty"]


class PythonPeer(PeerProcess):
    """A store of ours in its own process, so that it can be killed."""

    def __init__(self, directory: Path, **options: Any) -> None:
        super().__init__([sys.executable, str(PYTHON_PEER), str(directory), json.dumps(options)])


def _flag(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def meet(go: GoPeer, store: CRDTStatsStore) -> None:
    """Wait until what ``go`` says on the topic arrives at ``store``: a Go peer tells only those that its mesh has
    taken in by then, once a second."""

    def heard() -> int:
        return store.status()["network"]["messages"]

    before = heard()
    until(
        lambda: go.call("publish", hex="") or heard() > before, what=store.status
    )  # a broadcast of no heads


def until(holds: Callable[[], Any], timeout_s: float = 15.0, what: Callable[[], object] = str) -> float:
    """Seconds until ``holds()``; fails when it never does, with what ``what()`` then gives."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < timeout_s, f"not within {timeout_s} s: {what()}"
        time.sleep(0.02)
    return time.monotonic() - began


def put(go: GoPeer, **entries: str) -> None:
    go.call("batch", ops=[{"op": "put", "key": key, "value": value} for key, value in entries.items()])
