"""The network node: libp2p (host, gossip, bitswap, walk, redial) in a child process, and the client of it.

Knows nothing of counters: it carries opaque payloads of topics, and blocks named by their CID.
Importing this package imports neither trio nor libp2p; only the child process does.
"""

from crdtstats.network.client import NetworkNode

__all__ = ["NetworkNode"]
