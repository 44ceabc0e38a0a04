"""A libp2p peer in this process that is not one of our nodes: plain streams, honest or hostile."""

from contextlib import asynccontextmanager

import trio
from libp2p.peer.peerinfo import info_from_p2p_addr
from multiaddr import Multiaddr

from crdtstats.network import hardened

LIMIT_S = 30


@asynccontextmanager
async def foreign_host(peer, **handlers):
    """A host connected to ``peer``; ``handlers`` by protocol id are set before."""
    hardened.patch()
    host = hardened.make_host(None)
    with trio.fail_after(LIMIT_S):
        async with host.run(listen_addrs=[Multiaddr("/ip4/127.0.0.1/tcp/0")]):
            try:
                for protocol, handler in handlers.items():
                    host.set_stream_handler(protocol, handler)
                await host.connect(info_from_p2p_addr(Multiaddr(peer.node.addrs[0])))
                yield host, info_from_p2p_addr(Multiaddr(peer.node.addrs[0])).peer_id
            finally:
                with trio.move_on_after(3, shield=True):
                    await host.close()


async def until(condition, timeout_s=10.0):
    with trio.fail_after(timeout_s):
        while not condition():
            await trio.sleep(0.01)
