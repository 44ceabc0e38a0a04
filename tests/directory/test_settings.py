"""Settings are checked at the border."""

from __future__ import annotations

import dataclasses
import math

import pytest

from crdtstats import settings
from crdtstats.errors import UsageError
from crdtstats.settings import Network

PEER = "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWJtjcK9kCSLk4dfPSpvLnccQuqoxB1kHvxC4eMt8p5Dxz"


def test_the_default_network_is_native() -> None:
    network = Network()
    assert (network.topic, network.native, network.shared_dag) == ("/crdtstats/1/default", True, False)
    assert (network.hash, network.policy) == ("blake3", "signed")
    assert (network.flush_interval_s, network.announce_interval_s) == (1.0, 10.0)
    assert network.listen == ("/ip4/127.0.0.1/tcp/0",)
    assert network.peers == ()


def test_warpnet_is_what_its_go_peers_speak() -> None:
    network = Network.warpnet(peers=[PEER])
    assert (network.topic, network.native, network.shared_dag) == ("/warpnet/stats/1.0.0", False, True)
    assert (network.hash, network.policy) == ("sha2-256", "open")
    assert (network.flush_interval_s, network.announce_interval_s) == (10.0, 60.0)
    assert network.peers == (PEER,)
    assert Network.warpnet(announce_interval_s=5).announce_interval_s == 5.0
    with pytest.raises(UsageError, match="takes no name"):
        Network.warpnet(name="x")


def test_a_network_is_a_value() -> None:
    assert Network(peers=[PEER]) == Network(peers=(PEER,))
    assert hash(Network(listen=[])) == hash(Network(listen=()))
    with pytest.raises(dataclasses.FrozenInstanceError):
        Network().name = "x"  # type: ignore[misc]


@pytest.mark.parametrize("network", [Network(), Network("a.b-c_9"), Network.warpnet()])
def test_a_topic_names_its_network(network: Network) -> None:
    assert Network.of_topic(network.topic) == network


@pytest.mark.parametrize("topic", ["", "/other", "/crdtstats/1/", "/crdtstats/1/a/b", "/crdtstats/2/a"])
def test_an_unknown_topic_is_refused(topic: str) -> None:
    with pytest.raises(UsageError):
        Network.of_topic(topic)


@pytest.mark.parametrize("name", ["a", "0", "A" * 128, "stats.v2_x-y"])
def test_good_names_are_taken(name: str) -> None:
    assert Network(name).topic == f"/crdtstats/1/{name}"


@pytest.mark.parametrize(
    "name", ["", "a" * 129, "a/b", "..", ".", "-a", "a b", "a\n", "é", "\ud800", None, 1, b"a"]
)
def test_bad_names_are_refused(name) -> None:
    with pytest.raises(UsageError, match="name"):
        Network(name)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, 0.001, 1e9, True, "1", [1]])
def test_bad_intervals_are_refused(value) -> None:
    with pytest.raises(UsageError, match="announce_interval_s"):
        Network(announce_interval_s=value)


@pytest.mark.parametrize("field", ["listen", "peers"])
@pytest.mark.parametrize("value", [PEER, b"/x", 7, None, ["x"], [""], ["/"], [b"/ip4"], [None]])
def test_bad_addresses_are_refused(field: str, value) -> None:
    with pytest.raises(UsageError, match=field):
        Network(**{field: value})


@pytest.mark.parametrize(
    "peer",
    [
        "/ip4/127.0.0.1/tcp/4001",
        "/p2p/x",
        "/ip4/127.0.0.1/p2p/",
        "/ip4/127.0.0.1/p2p/junk",
        PEER + "/p2p-circuit",
    ],
)
def test_a_peer_without_an_id_at_its_end_is_refused(peer: str) -> None:
    with pytest.raises(UsageError, match="/p2p/<peer id>"):
        Network(peers=[peer])


def test_no_wait_is_a_time_too_where_it_makes_sense() -> None:
    assert settings.seconds("close_timeout_s", 0, 0.0) == 0.0
