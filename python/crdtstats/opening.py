"""``crdtstats.open``: a directory, a datastore and a network become a store."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from crdtstats import settings
from crdtstats.datastores.url import open_datastore
from crdtstats.directory import DataDirectory
from crdtstats.errors import UsageError
from crdtstats.host import LocalHost
from crdtstats.settings import Network
from crdtstats.store import CRDTStatsStore

if TYPE_CHECKING:
    from crdtstats.protocols import Datastore


def open(
    path: str | os.PathLike[str],
    *,
    datastore: str | Datastore | None = None,
    network: Network | None = None,
    identity: bytes | str | os.PathLike[str] | None = None,
    flush_interval_s: float | None = None,
    hash: str | None = None,
    close_timeout_s: float = settings.CLOSE_TIMEOUT_S,
) -> CRDTStatsStore:
    """Open the store in the directory ``path``, and make it where there is none.

    Args:
        path: the data directory; its parent has to exist. One process at a time.
        datastore: a URL (``sqlite:///file``, ``memory:``) or an object, which stays the caller's to close.
            ``None``: SQLite inside ``path``.
        network: which network to join. ``None``: no connections; the directory stays with the network that it
            is bound to (the native ``default`` one when it is new).
        identity: an Ed25519 private key as libp2p marshals it (bytes, or a path); ``None``: one of its own.
        flush_interval_s: least seconds between two flushes that nobody asked for; ``None``: 1, warpnet 10.
        hash: of the nodes that are written; ``None``: blake3, warpnet sha2-256.
        close_timeout_s: how many seconds ``close`` waits for a peer.

    Raises:
        UsageError: an argument is wrong, or the directory is bound to another network.
        UnavailableError: the directory is in use or not writable, or libp2p is not installed.
        DataError: the directory is damaged, or a journal's key is missing.

    Cost: some 20 ms and fsyncs for a new directory; with a network a child process of half a second.
    """
    _check_network(network)
    close_timeout_s = settings.seconds("close_timeout_s", close_timeout_s, 0.0)
    if flush_interval_s is not None:
        flush_interval_s = settings.seconds("flush_interval_s", flush_interval_s)
    with contextlib.ExitStack() as undo:
        directory = DataDirectory.open(
            path, network_topic=network.topic if network else None, identity=identity
        )
        undo.callback(directory.close)
        bound = network or Network.of_topic(directory.topic)
        old_identities = directory.keys()
        blocks = open_datastore(_datastore(directory, datastore))
        on_close = [directory.close]
        if blocks is not datastore:
            undo.callback(blocks.close)
            on_close.insert(0, blocks.close)
        node, broadcaster = _join(network, directory, undo)
        if node is not None:
            on_close.insert(0, node.close)
        store = CRDTStatsStore(
            broadcaster,
            blocks,
            node or LocalHost(directory.identity),
            None,
            exchange=None if node is None else node.exchange,
            journal_dir=directory.journal_dir,
            topic=bound.topic,
            native=bound.native,
            hash=hash or bound.hash,
            flush_interval_s=flush_interval_s or bound.flush_interval_s,
            announce_interval_s=bound.rhythm_s,
            close_timeout_s=close_timeout_s,
            old_identities=old_identities,
            on_close=on_close,
            on_clone=directory.rotate_identity,
        )
        undo.pop_all()
    return store


def _check_network(network: object) -> None:
    if network is not None and not isinstance(network, Network):
        raise UsageError(f"network is a crdtstats.Network, not {type(network).__name__}")


def _datastore(directory: DataDirectory, datastore: str | Datastore | None) -> str | Datastore:
    if datastore is not None:
        return datastore
    from crdtstats.datastores.sqlite import SQLiteDatastore  # late: the import costs some milliseconds

    return SQLiteDatastore(directory.blocks_path)


def _join(network: Network | None, directory: DataDirectory, undo: contextlib.ExitStack) -> tuple[Any, Any]:
    """The network node and the broadcaster over it; nothing without a network."""
    if network is None:
        return None, None
    from crdtstats.gossip import GossipBroadcaster
    from crdtstats.network.client import NetworkNode

    identity = directory.identity
    node = NetworkNode(
        identity.to_bytes(),
        network.topic,
        network.listen,
        network.peers,
        psk=network.key,
        dht=network.dht,
        signer=identity,
    )
    undo.callback(node.close)
    broadcaster = GossipBroadcaster(node, network.topic)
    undo.callback(broadcaster.close)
    return node, broadcaster
