"""What a user sets, checked at the border: the network, and the rhythms with their reasons."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from crdtstats.errors import UsageError
from crdtstats.swarm_key import read_swarm_key

FLUSH_DELAY_S = 0.05
"""From the first change after a quiet time to its flush: long enough to gather a burst into one block, short
enough that a single count shows up elsewhere at once."""
FLUSH_INTERVAL_S = 1.0
"""Least time between two flushes: each costs a durable write and a block, and one second is live enough."""
WARPNET_FLUSH_INTERVAL_S = 10.0
"""There, every block stays for ever on every peer."""
ANNOUNCE_INTERVAL_S = 10.0
"""Heads are announced again so often, ± 30 %: how long a peer that missed a message stays behind."""
WARPNET_ANNOUNCE_INTERVAL_S = 60.0
"""What the Go engine does: more would only add to the traffic of its peers."""
CLOSE_TIMEOUT_S = 5.0
"""How long ``close`` waits for a peer to take the last head: a supervisor kills after ten seconds or more."""
INTERVAL_S_MIN = 0.01
INTERVAL_S_MAX = 86_400.0
"""A day: beyond it lies a mistake of units, not a wish."""
NETWORK_NAME_CHARS_MAX = 128

NATIVE_TOPIC_PREFIX = "/crdtstats/1/"
WARPNET_TOPIC = "/warpnet/stats/1.0.0"
LISTEN_DEFAULT = ("/ip4/127.0.0.1/tcp/0",)

_PEER_ID = re.compile(r"[A-Za-z0-9]{44,128}")
"""Base58 of a multihash, or a CID; the network node reads it in full."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Network:
    """Which network a store joins, and how.

    Args:
        name: of a native network: 1 to 128 of ``A-Z a-z 0-9 . _ -``, the first a letter or digit. All replicas
            of one name come to the same totals.
        listen: multiaddrs to listen on; port 0 takes a free one. Empty: connects only.
        peers: multiaddrs that end in ``/p2p/<peer id>``; kept connected.
        psk: the key of a private network, which only its members can connect to: 32 bytes, or the text or path of
            a ``swarm.key``. Afterwards it is the 32 bytes, and no text that is made of this object shows them.
        dht: take part in the Kademlia DHT: blocks that no connected peer has are looked for there, and peers find ours.
        announce_interval_s: seconds between two announcements of the same heads; ``None``: 10, warpnet 60.
        native: False only through :meth:`warpnet`.

    Raises:
        UsageError: something of it is malformed.
    """

    name: str = "default"
    listen: Sequence[str] = LISTEN_DEFAULT
    peers: Sequence[str] = ()
    psk: bytes | str | os.PathLike[str] | None = field(default=None, repr=False)
    announce_interval_s: float | None = None
    dht: bool = False
    native: bool = True

    def __post_init__(self) -> None:
        if self.psk is not None:
            object.__setattr__(self, "psk", read_swarm_key(self.psk))
        if not isinstance(self.dht, bool):
            raise UsageError(f"dht is True or False, not {type(self.dht).__name__}")
        check_name(self.name)
        object.__setattr__(self, "listen", _addresses("listen", self.listen))
        object.__setattr__(self, "peers", _addresses("peers", self.peers))
        for peer in self.peers:
            before, _, peer_id = peer.rpartition("/p2p/")
            if not before or not _PEER_ID.fullmatch(peer_id):
                raise UsageError(
                    f"{peer!r} does not say whom to expect: it has to end in /p2p/<peer id>", peer=peer
                )
        object.__setattr__(self, "announce_interval_s", seconds("announce_interval_s", self.rhythm_s))

    @classmethod
    def warpnet(cls, **settings: Any) -> Network:
        """The network of Warpnet's Go peers: their topic, one DAG for all, unsigned elements taken, sha2-256.

        Takes ``listen``, ``peers``, ``psk``, ``announce_interval_s``, ``dht``.
        """
        unknown = sorted(settings.keys() - {"listen", "peers", "psk", "announce_interval_s", "dht"})
        if unknown:
            raise UsageError(f"Network.warpnet() takes no {', '.join(unknown)}", unknown=unknown)
        return cls("warpnet", native=False, **settings)

    @classmethod
    def of_topic(cls, topic: str) -> Network:
        """The network with this topic, as a directory remembers it.

        Raises:
            UsageError: no network has such a topic.
        """
        if topic == WARPNET_TOPIC:
            return cls.warpnet()
        if not topic.startswith(NATIVE_TOPIC_PREFIX):
            raise UsageError(f"{topic!r} is the topic of no network that this version knows", topic=topic)
        return cls(topic.removeprefix(NATIVE_TOPIC_PREFIX))

    @property
    def topic(self) -> str:
        """The gossip topic; it also goes into what nodes are signed for."""
        return f"{NATIVE_TOPIC_PREFIX}{self.name}" if self.native else WARPNET_TOPIC

    @property
    def key(self) -> bytes | None:
        """The 32 bytes of ``psk``."""
        return self.psk if isinstance(self.psk, bytes) else None

    @property
    def shared_dag(self) -> bool:
        """Whether all write the one default DAG (dagName ``""``)."""
        return not self.native

    @property
    def policy(self) -> str:
        """``signed``: unsigned elements are dropped; ``open``: they are taken as Go takes them."""
        return "signed" if self.native else "open"

    @property
    def hash(self) -> str:
        """The hash of nodes that we write, unless the user names another."""
        return "blake3" if self.native else "sha2-256"

    @property
    def rhythm_s(self) -> float:
        """``announce_interval_s`` with its default filled in."""
        if self.announce_interval_s is not None:
            return self.announce_interval_s
        return ANNOUNCE_INTERVAL_S if self.native else WARPNET_ANNOUNCE_INTERVAL_S

    @property
    def flush_interval_s(self) -> float:
        """Least seconds between two flushes, unless the user names another."""
        return FLUSH_INTERVAL_S if self.native else WARPNET_FLUSH_INTERVAL_S


def check_name(name: object) -> None:
    """Raise ``UsageError`` unless ``name`` can be the name of a native network."""
    if not isinstance(name, str):
        raise UsageError(f"a network's name is text, not {type(name).__name__}")
    if len(name) > NETWORK_NAME_CHARS_MAX or not _NAME.fullmatch(name):
        raise UsageError(
            f"{name[:NETWORK_NAME_CHARS_MAX]!r} is no name of a network: 1 to {NETWORK_NAME_CHARS_MAX} characters "
            "of A-Z a-z 0-9 . _ -, the first a letter or digit",
            name=name,
            limit=NETWORK_NAME_CHARS_MAX,
        )


def seconds(name: str, value: object, least: float = INTERVAL_S_MIN) -> float:
    """``value`` as seconds. Raises ``UsageError`` unless ``least`` ≤ value ≤ a day."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f"{name} is a number of seconds, not {type(value).__name__}", name=name)
    if not math.isfinite(value) or not least <= value <= INTERVAL_S_MAX:
        raise UsageError(
            f"{name} is {value!r}, but has to lie between {least:g} and {INTERVAL_S_MAX:g} seconds", name=name
        )
    return float(value)


def _addresses(name: str, addresses: object) -> tuple[str, ...]:
    if isinstance(addresses, (str, bytes)):
        raise UsageError(f"{name} is a list of multiaddrs, not one: write {name}=[{addresses!r}]", name=name)
    try:
        found = tuple(cast("Iterable[object]", addresses))
    except TypeError:
        raise UsageError(
            f"{name} is a list of multiaddrs, not {type(addresses).__name__}", name=name
        ) from None
    texts: list[str] = []
    for address in found:
        if not isinstance(address, str) or not address.startswith("/") or len(address) < 2:
            raise UsageError(f"{address!r} in {name} is no multiaddr like /ip4/127.0.0.1/tcp/4001", name=name)
        texts.append(address)
    return tuple(texts)
