"""A network in memory, with faults and a clock of its own: what most tests run on.

With ``MemoryNetwork(seed=...)`` nothing moves by itself: ``advance(now)`` delivers what is due, and one
seed gives one trace. With ``MemoryNetwork(realtime=True)`` each message is delivered before the call that
sent it returns.
"""

from crdtstats.memory_network.broadcaster import MemoryBroadcaster
from crdtstats.memory_network.exchange import MemoryExchange
from crdtstats.memory_network.faults import Faults
from crdtstats.memory_network.host import Identity, MemoryHost, NamedIdentity
from crdtstats.memory_network.network import MemoryNetwork
from crdtstats.memory_network.router import MemoryRouter

__all__ = [
    "Faults",
    "Identity",
    "MemoryBroadcaster",
    "MemoryExchange",
    "MemoryHost",
    "MemoryNetwork",
    "MemoryRouter",
    "NamedIdentity",
]
