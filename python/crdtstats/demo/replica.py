"""One replica as a process of its own: ``python -m crdtstats.demo.replica``.

It takes commands (one JSON object a line) on stdin and gives events on stdout; the driver is the only one
that talks to it. It knows its share, and nothing of what ought to come out.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from crdtstats.demo.acknowledged import Acknowledged
from crdtstats.demo.traffic import read_share
from crdtstats.errors import UnavailableError

CURSOR = "demo"
OPENER = "crdtstats.demo.replica:open_store"
LISTEN = "/ip4/127.0.0.1/tcp/0"
LISTENING_S_MAX = 30.0
"""The network node is a process of its own and takes about half a second to start."""
_LISTENING_POLL_S = 0.02

Opener = Callable[[Path, str, list[str]], tuple[Any, Callable[[], list[str]]]]
"""(directory, network name, peers) to the open store, and what tells the addresses it listens on."""


def open_store(directory: Path, network: str, peers: list[str]) -> tuple[Any, Callable[[], list[str]]]:
    """Open the store over real libp2p on the loopback interface."""
    import crdtstats

    stats = crdtstats.open(directory, network=crdtstats.Network(name=network, listen=[LISTEN], peers=peers))
    return stats, lambda: list(stats.status()["network"]["addrs"])


class Replica:
    """Carries out the driver's commands, one after the other, in the main thread."""

    def __init__(self, opener: Opener, say: Callable[..., None]) -> None:
        self._opener = opener
        self._say = say
        self._stats: Any = None
        self._acknowledged: Acknowledged | None = None

    def run(self, commands: Iterable[dict[str, Any]]) -> None:
        """Until ``close``, or the first error, which is given to the driver."""
        try:
            for command in commands:
                getattr(self, "do_" + command.pop("do"))(**command)
                if self._stats is None:
                    return
        except Exception as error:
            self._say("failed", error=f"{type(error).__name__}: {error}")
            raise
        finally:
            if self._acknowledged is not None:
                self._acknowledged.close()
            if self._stats is not None:
                self._stats.close()

    def do_open(self, directory: str, network: str, peers: list[str], share: str, acknowledged: str) -> None:
        self._keys, self._amounts = read_share(Path(share))
        self._acknowledged = Acknowledged(Path(acknowledged))
        self._stats, addresses = self._opener(Path(directory), network, peers)
        until = time.monotonic() + LISTENING_S_MAX
        while not (listening := addresses()):
            if time.monotonic() > until:
                raise UnavailableError(f"the network node does not listen after {LISTENING_S_MAX:g} s")
            time.sleep(_LISTENING_POLL_S)
        self._say("open", addresses=listening, position=self._position())

    def do_ingest(self, until: int, batch: int, report_at: int | None) -> None:
        """Count the share from the cursor on, as far as position ``until``, at full speed."""
        assert self._acknowledged is not None
        position, update, clock = self._position(), self._stats.update, time.perf_counter_ns
        while True:
            if report_at is not None and position >= report_at:
                self._say("half", position=position)
                report_at = None
            if position >= until:
                break
            end = min(position + batch, until)
            keys, amounts = self._keys[position:end], self._amounts[position:end]
            began = clock()
            update(keys, amounts, cursor=(CURSOR, end))
            self._acknowledged.add(end, clock() - began)
            position = end
        self._say("ingested", position=position)

    def do_flush(self) -> None:
        self._say("flushing")
        self._stats.flush()
        self._say("flushed")

    def do_digest(self) -> None:
        """A digest over every (key, value) there is."""
        digest, keys = digest_of(self._stats.items(""))
        self._say("digest", digest=digest, keys=keys)

    def do_read(self, probes: str, answers: str) -> None:
        """Read each key of the file ``probes`` in every way there is."""
        stats = self._stats
        with open(probes, encoding="ascii") as asked, open(answers, "w", encoding="ascii") as given:
            for line in asked:
                key = json.loads(line)
                reads = (key, stats.get(key), stats.total(key), stats.get_aggregated_stat(key))
                given.write(json.dumps(reads) + "\n")
        with open(answers + ".items", "w", encoding="ascii") as given:
            for key, value in stats.items(""):
                given.write(json.dumps((key, value)) + "\n")
        self._say("read")

    def do_show(self, authors: int) -> None:
        """What the report shows."""
        self._say(
            "show",
            directories=self._stats.children("lines"),
            authors=self._stats.top("authors", authors),
            blocks=self._stats.status().get("blocks"),
        )

    def do_close(self) -> None:
        stats, self._stats = self._stats, None
        stats.close()
        self._say("closed")

    def _position(self) -> int:
        return self._stats.cursor(CURSOR) or 0


def digest_of(items: Iterable[tuple[str, int]]) -> tuple[str, int]:
    """Digest and number of (key, value) pairs; they are sorted by the bytes of their keys."""
    hashed, keys = hashlib.sha256(), 0
    for key, value in items:
        hashed.update(json.dumps((key, value)).encode() + b"\n")
        keys += 1
    return hashed.hexdigest(), keys


def main() -> None:
    """Serve the driver until it says ``close`` or goes away."""
    # Ctrl-C is the driver's to handle: it ends its replicas in good order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Stdout belongs to the driver: what anything else prints goes to the log, and no child holds the pipe.
    out = os.dup(1)
    os.dup2(2, 1)
    module, _, name = sys.argv[1].partition(":")
    opener: Opener = getattr(importlib.import_module(module), name)

    def say(event: str, **facts: Any) -> None:
        os.write(out, json.dumps({"event": event, **facts}).encode() + b"\n")

    commands: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin.buffer:
            commands.put(json.loads(line))
        # The driver is gone without `close`: so is the demo. The journal keeps what was counted.
        os._exit(3)

    threading.Thread(target=listen, name="driver", daemon=True).start()
    Replica(opener, say).run(iter(commands.get, None))
    # The store is closed and the last event written; the thread that reads stdin would hold up a plain exit.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
