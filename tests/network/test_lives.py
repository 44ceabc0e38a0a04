"""What happens when processes die, hang, fork or are told to stop."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from crdtstats.errors import ClosedError, UnavailableError, UsageError
from crdtstats.network import NetworkNode
from tests.network.conftest import TOPIC, new_identity, wait_for


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def own_threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith("crdtstats-")}


def descriptors():
    return {(fd, os.readlink(f"/proc/self/fd/{fd}")) for fd in os.listdir("/proc/self/fd") if _is_open(fd)}


def _is_open(fd):
    try:
        os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return False
    return True


def children():
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()) | {
        child
        for task in os.listdir("/proc/self/task")
        for child in Path(f"/proc/self/task/{task}/children").read_text().split()
    }


def test_a_killed_child_is_replaced_and_all_goes_on(peers, noise):
    alice = peers().start()
    alice.node.wait_ready(20)
    bob = peers(peers=alice.node.addrs).start()
    bob.wait_connected(alice)
    bob.hears(alice)
    pid, addrs = alice.node.status()["pid"], alice.node.addrs
    os.kill(pid, signal.SIGKILL)
    started = time.monotonic()
    wait_for(lambda: alice.node.status()["pid"] not in (pid, None) and alice.node.status()["ready"])
    assert time.monotonic() - started < 8
    assert alice.node.addrs == addrs, "peers find it where it was"
    assert alice.node.status()["restarts"] == 1
    bob.hears(alice)
    alice.hears(bob)
    (cid,) = alice.put(noise(5000))
    bob.node.exchange.want([cid], [alice.node.peer_id])
    bob.wait_blocks([cid])


def test_a_want_outlives_the_child(peers, noise):
    alice = peers().start()
    alice.node.wait_ready(20)
    bob = peers(peers=alice.node.addrs).start()
    bob.wait_connected(alice)
    block = noise(1000)
    (cid,) = alice.put(block)
    del alice.blocks[cid]
    bob.node.exchange.want([cid])
    wait_for(lambda: cid in alice.asked)
    os.kill(bob.node.status()["pid"], signal.SIGKILL)
    alice.put(block)
    bob.wait_blocks([cid])


def test_no_call_waits_for_a_child_that_hangs(peers):
    alice = peers().start()
    alice.node.wait_ready(20)
    os.kill(alice.node.status()["pid"], signal.SIGSTOP)
    try:
        started = time.monotonic()
        for number in range(600):
            alice.node.publish_raw(TOPIC, bytes(10_000))
            alice.node.exchange.want([b"\x01\x70\x12\x20" + number.to_bytes(32, "big")])
            alice.node.status()
        assert time.monotonic() - started < 2
        assert alice.node.status()["dropped_child_behind"] > 0
        started = time.monotonic()
        alice.node.close()
        assert time.monotonic() - started < 8
    finally:
        alice.node.close()


def test_the_child_ends_with_its_killed_parent():
    program = f"""
import sys, time
sys.path[:0] = {sys.path!r}
from crdtstats.network import NetworkNode
node = NetworkNode({new_identity()!r}, "t")
node.wait_ready(20)
import os
if os.fork() == 0:
    time.sleep(60)  # a worker that holds the socket open
    os._exit(0)
print(node.status()["pid"], flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.kill()
        parent.wait(5)
        wait_for(lambda: not is_running(child), 5, "end of the child")
    finally:
        parent.stdout.close()
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait(5)


def test_close_leaves_nothing_behind(noise):
    before = own_threads(), descriptors(), children()
    node = NetworkNode(new_identity(), TOPIC)
    node.exchange.start(lambda cid: None, lambda *block: None)
    node.wait_ready(20)
    pid = node.status()["pid"]
    assert own_threads() > before[0]
    started = time.monotonic()
    node.close()
    node.close()
    assert time.monotonic() - started < 5
    assert not is_running(pid)
    assert (own_threads(), descriptors(), children()) == before
    for call in (
        lambda: node.publish_raw(TOPIC, b""),
        lambda: node.subscribe_raw(TOPIC, print),
        lambda: node.connect("/ip4/127.0.0.1/tcp/1/p2p/x"),
        lambda: node.exchange.want([b"cid"]),
    ):
        with pytest.raises(ClosedError):
            call()


def test_what_was_broadcast_before_close_still_goes_out(peers):
    alice = peers()
    alice.node.wait_ready(20)
    bob = peers(peers=alice.node.addrs)
    bob.wait_connected(alice)
    alice.hears(bob)
    for number in range(30):
        bob.node.publish_raw(TOPIC, b"last %d" % number)
    bob.node.close()
    wait_for(lambda: sum(data.startswith(b"last ") for data, _ in alice.messages) == 30, 5, "last words")


def test_close_before_the_child_is_up_leaves_nothing_behind():
    before = own_threads(), descriptors(), children()
    NetworkNode(new_identity(), TOPIC).close()
    assert (own_threads(), descriptors(), children()) == before


def test_a_forked_process_abandons_the_node_and_disturbs_nothing(peers):
    alice = peers().start()
    alice.node.wait_ready(20)
    inherited = alice.node.descriptors()
    pid = os.fork()
    if pid == 0:
        try:
            alice.node.abandon()
            closed = not any(_is_open(fd) for fd in inherited)
            try:
                alice.node.publish_raw(TOPIC, b"")
            except ClosedError:
                os._exit(0 if closed else 2)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert inherited
    bob = peers(peers=alice.node.addrs)
    bob.hears(alice)
    assert alice.node.status()["restarts"] == 0


def test_an_address_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            NetworkNode(new_identity(), TOPIC, listen=[f"/ip4/127.0.0.1/tcp/{port}"]) as node,
            pytest.raises(UnavailableError, match=str(port)),
        ):
            node.wait_ready(20)


def test_bad_arguments_are_refused_before_anything_starts():
    before = own_threads()
    with pytest.raises(UsageError, match="Ed25519"):
        NetworkNode(b"\x08\x00rsa", TOPIC)
    with pytest.raises(UsageError, match="/p2p/"):
        NetworkNode(new_identity(), TOPIC, peers=["/ip4/127.0.0.1/tcp/1"])
    assert own_threads() == before


def test_missing_libp2p_names_the_extra(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=r"crdtstats\[p2p\]"):
        NetworkNode(new_identity(), TOPIC)


def test_the_client_imports_neither_trio_nor_libp2p():
    program = "import sys, crdtstats.network; assert not {'trio', 'libp2p'} & set(sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


def test_the_key_is_in_no_argument_and_no_variable(peers):
    identity = new_identity()
    peer = peers(identity=identity)
    peer.node.wait_ready(20)
    for name in ("cmdline", "environ"):
        shown = Path(f"/proc/{peer.node.status()['pid']}/{name}").read_bytes()
        assert identity[4:36] not in shown
        assert identity[4:36].hex().encode() not in shown
