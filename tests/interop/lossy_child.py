"""``python -m tests.interop.lossy_child FD PARENT``: the network child, with faults that a test asks for.

They come as frames of a kind that there is: a CONNECT whose address is JSON.
    {"loss": {"seed": 1, "in": 0.2, "out": 0.2}}   that share of the payloads is lost, either way
    {"cut": "12D3Koo...", "seconds": 2.0}          no connection with this peer, for so long
"""

from __future__ import annotations

import json
import os
import random
import sys
from typing import Any

import trio

from crdtstats.network import child, hardened, node
from crdtstats.network.frames import Kind
from crdtstats.network.link import ParentLink


class LossyNode(node.Node):
    """A node that loses payloads and connections when it is told to."""

    def __init__(self, settings: node.Settings, link: ParentLink) -> None:
        super().__init__(settings, link)
        self._chance = random.Random(0)
        self._loss = {"in": 0.0, "out": 0.0}
        self._cut: dict[str, float] = {}
        stock_offer, stock_dial = link.offer, hardened.dial

        def offer(kind: Kind, *parts: bytes) -> bool:
            if kind == Kind.MESSAGE and self._lost("in"):
                return False
            return stock_offer(kind, *parts)

        async def dial(host: Any, peer: Any, address: Any) -> bool:
            return not self._is_cut(peer) and await stock_dial(host, peer, address)

        link.offer = offer  # type: ignore[method-assign]
        hardened.dial = dial

    def _lost(self, way: str) -> bool:
        return self._chance.random() < self._loss[way]

    def _is_cut(self, peer: Any) -> bool:
        return trio.current_time() < self._cut.get(str(peer), 0.0)

    async def _publish(self, topic: str, data: bytes) -> None:
        if not self._lost("out"):
            await super()._publish(topic, data)

    async def connected(self, network: Any, conn: Any) -> None:
        await super().connected(network, conn)
        if self._is_cut(conn.muxed_conn.peer_id):
            self._nursery.start_soon(self._end, conn.muxed_conn.peer_id)

    def _connect(self, address: str) -> None:
        if not address.startswith("{"):
            super()._connect(address)
            return
        fault = json.loads(address)
        if "loss" in fault:
            self._chance, self._loss = random.Random(fault["loss"]["seed"]), fault["loss"]
        if "cut" in fault:
            peer = next((p for p in self._host.get_connected_peers() if str(p) == fault["cut"]), None)
            self._cut[fault["cut"]] = trio.current_time() + fault["seconds"]
            if peer is not None:
                self._nursery.start_soon(self._end, peer)

    async def _end(self, peer: Any) -> None:
        await hardened.quietly(self._host.disconnect(peer))


if __name__ == "__main__":
    node.Node = LossyNode  # type: ignore[misc]
    code = child.main(sys.argv[1:])
    os._exit(code)
