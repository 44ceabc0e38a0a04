"""A private network between our own nodes: members hear each other, others are refused by name."""

import pytest

from crdtstats._core import XSalsa20
from crdtstats.errors import UsageError
from tests.network.conftest import wait_for

KEY, OTHER = bytes(range(32)), bytes(32)


def test_xsalsa20_gives_the_known_keystream():
    """The example of "Cryptography in NaCl", section 10: key, nonce and keystream of crypto_box."""
    key = bytes.fromhex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")
    nonce = bytes.fromhex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37")
    first = bytes.fromhex("eea6a7251c1e72916d11c2cb214d3c252539121d8e234e652d651fa4c8cff880")
    assert XSalsa20(key, nonce).apply(bytes(32)) == first
    stream, whole = XSalsa20(key, nonce), XSalsa20(key, nonce).apply(bytes(1000))
    sizes = [0, 1, 63, 64, 65, 1, 128, 678]
    assert b"".join(stream.apply(bytes(size)) for size in sizes) == whole
    assert XSalsa20(key, nonce).apply(whole) == bytes(1000)


@pytest.mark.parametrize(("key", "nonce"), [(31, 24), (33, 24), (32, 23), (32, 8), (0, 0)])
def test_wrong_lengths_are_refused(key, nonce):
    with pytest.raises(UsageError):
        XSalsa20(bytes(key), bytes(nonce))


def test_members_hear_each_other_and_exchange_blocks(peers, noise):
    first = peers(psk=KEY).start()
    first.node.wait_ready()
    second = peers(psk=KEY, peers=first.node.addrs).start()
    second.wait_connected(first)
    second.hears(first)
    first.hears(second)
    cids = first.put(*(noise(1 << 20) for _ in range(4)))
    second.node.exchange.want(cids)
    second.wait_blocks(cids)
    assert refused(first) == refused(second) == {"wrong-psk": 0, "no-psk": 0, "closed-before-hello": 0}


def refused(peer):
    return wait_for(lambda: peer.node.status()["child"].get("refused"), what="a status")


@pytest.mark.parametrize(
    ("here", "there", "reason"),
    [(KEY, OTHER, "wrong-psk"), (KEY, None, "no-psk")],
    ids=["wrong key", "no key"],
)
@pytest.mark.parametrize("dials", ["member", "stranger"])
def test_strangers_are_refused_and_the_reason_is_counted(peers, here, there, reason, dials):
    def run(psk, others):
        peer = peers(psk=psk, peers=others).start()
        peer.node.wait_ready()
        return peer

    if dials == "member":
        stranger = run(there, ())
        member = run(here, stranger.node.addrs)
    else:
        member = run(here, ())
        stranger = run(there, member.node.addrs)
    wait_for(lambda: refused(member)[reason] >= 2, what=reason)  # it was tried again, and refused again
    assert not member.node.connections()
    assert not stranger.node.connections()
    friend = run(here, member.node.addrs)  # and the member is none the worse for it
    friend.wait_connected(member)
