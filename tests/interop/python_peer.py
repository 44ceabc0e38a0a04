"""``python python_peer.py DIRECTORY OPTIONS``: a store in the network of Go peers, driven by JSON lines.

Answers like the Go peer: {"id", "ok", "err", "result"} to each {"id", "cmd", ...}. End of input kills it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import crdtstats
import crdtstats.errors
from crdtstats.network import process
from crdtstats.network.frames import Kind, frame
from tests.interop.heads import bytes_of, heads

LOSSY_CHILD = "tests.interop.lossy_child"


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def do(store: crdtstats.CRDTStatsStore, request: dict[str, Any]) -> Any:
    command = request["cmd"]
    if command == "count":
        for key, (increments, decrements) in request["counts"].items():
            store.increment(key, increments)
            store.decrement(key, decrements)
        return None
    if command == "steps":
        for key, amount in request["steps"]:
            store.increment(key, amount)
        return None
    if command == "items":
        return dict(store.items())
    if command == "heads":
        return heads(store)
    if command == "holds":
        return store._running.engine.holds(bytes_of(request["cid"]))
    if command == "fault":
        return suffer(store, request["fault"])
    if command == "aggregated":
        return store.get_aggregated_stat(request["key"])
    if command == "flush":
        return store.flush()
    if command == "status":
        return store.status()
    if command == "close":
        return store.close()
    raise ValueError(f"unknown command {command!r}")


def suffer(store: crdtstats.CRDTStatsStore, fault: dict[str, Any]) -> None:
    """Have the network child suffer a fault: see ``lossy_child``."""
    network: Any = store._running._host
    with network._changed:
        network._control.append(frame(Kind.CONNECT, json.dumps(fault).encode()))
        network._changed.notify_all()


def addresses(store: crdtstats.CRDTStatsStore) -> list[str]:
    """Where it listens; whoever waits for it decides how long."""
    while True:
        try:
            return list(store.addrs)
        except crdtstats.errors.UnavailableError:
            continue  # it waited ten seconds


def main(directory: str, options: dict[str, Any]) -> None:
    if options.get("faults"):
        process.CHILD_MODULE = LOSSY_CHILD
        os.environ["PYTHONPATH"] = sys.path[0]
    network = crdtstats.Network.warpnet(
        peers=options["peers"],
        listen=options.get("listen", ("/ip4/127.0.0.1/tcp/0",)),
        announce_interval_s=options.get("announce_interval_s"),
    )
    with crdtstats.open(
        directory, network=network, flush_interval_s=options.get("flush_interval_s", 0.2)
    ) as store:
        say({"event": "ready", "peer": store.status()["peer_id"], "addrs": addresses(store)})
        for line in sys.stdin:
            request = json.loads(line)
            try:
                result, error = do(store, request), ""
            except Exception as raised:  # noqa: BLE001 - the other side decides what it means
                result, error = None, repr(raised)
            say({"id": request["id"], "ok": not error, "err": error, "result": result})
            if request["cmd"] == "close":
                return
        os._exit(1)  # whoever drove us is gone


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
