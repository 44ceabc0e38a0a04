"""PN-counter stats for many replicas and no leader: counters as fast as a dict that survive ``kill -9`` and converge.

``crdtstats.open(path)`` gives a store; everything else is for those who bring their own parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crdtstats import errors

if TYPE_CHECKING:
    from crdtstats._core import Counter as Counter
    from crdtstats._core import Identity as Identity
    from crdtstats._core import __version__ as __version__
    from crdtstats.gossip import GossipBroadcaster as GossipBroadcaster
    from crdtstats.opening import open as open
    from crdtstats.protocols import Broadcaster as Broadcaster
    from crdtstats.protocols import CRDTRouter as CRDTRouter
    from crdtstats.protocols import Datastore as Datastore
    from crdtstats.protocols import Exchange as Exchange
    from crdtstats.protocols import GossipPubSuber as GossipPubSuber
    from crdtstats.protocols import Host as Host
    from crdtstats.settings import Network as Network
    from crdtstats.store import STATS_REPO_NAME as STATS_REPO_NAME
    from crdtstats.store import CRDTStatsStore as CRDTStatsStore

# Imported where they are used first: `import crdtstats` stays cheap.
_HOMES = {
    "Broadcaster": "crdtstats.protocols",
    "CRDTRouter": "crdtstats.protocols",
    "CRDTStatsStore": "crdtstats.store",
    "Counter": "crdtstats._core",
    "Datastore": "crdtstats.protocols",
    "Exchange": "crdtstats.protocols",
    "GossipBroadcaster": "crdtstats.gossip",
    "GossipPubSuber": "crdtstats.protocols",
    "Host": "crdtstats.protocols",
    "Identity": "crdtstats._core",
    "Network": "crdtstats.settings",
    "STATS_REPO_NAME": "crdtstats.store",
    "__version__": "crdtstats._core",
    "open": "crdtstats.opening",
}

__all__ = [
    "STATS_REPO_NAME",
    "Broadcaster",
    "CRDTRouter",
    "CRDTStatsStore",
    "Counter",
    "Datastore",
    "Exchange",
    "GossipBroadcaster",
    "GossipPubSuber",
    "Host",
    "Identity",
    "Network",
    "__version__",
    "errors",
    "open",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'crdtstats' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
