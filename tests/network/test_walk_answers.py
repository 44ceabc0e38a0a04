"""What a question for many blocks is answered with, and what the answer costs."""

import pytest

from crdtstats.network.exchange import NetworkExchange
from tests.network.conftest import cid_of_block

CIDS = 1024
COUNT = 2048
"""As much as can be asked for."""
BYTES = 4 << 20


class Dag:
    """Blocks that name what is below them; counts how often one is read."""

    def __init__(self):
        self.blocks, self.links, self.reads, self.walked_bytes = {}, {}, 0, []
        self.exchange = NetworkExchange(lambda: None, lambda life, answer: None, None)
        self.exchange._serve, self.exchange._walk = self.serve, self.walk

    def add(self, *below, size=100):
        block = b"%d" % len(self.blocks) + bytes(size) + b"".join(below)
        cid = cid_of_block(block)
        self.blocks[cid], self.links[cid] = block, below
        return cid

    def chain(self, count, size=100):
        """Newest first."""
        cids = []
        for _ in range(count):
            cids.append(self.add(*cids[-1:], size=size))
        return cids[::-1]

    def serve(self, cid):
        self.reads += cid in self.blocks
        return self.blocks.get(cid)

    def walk(self, cid, count_max, bytes_max):
        """All at once, as a store gives it: whoever takes but the first has read them all."""
        seen, order, out = {cid}, [cid], []
        for at in order:
            if len(out) >= count_max:
                break
            block = self.serve(at)
            if out and len(block) > bytes_max:
                break
            bytes_max -= len(block)
            out.append((at, block))
            order += [below for below in self.links[at] if below not in seen]
            seen.update(self.links[at])
        self.walked_bytes.append(sum(len(block) for _, block in out))
        return out

    def ask(self, cids, count=COUNT, size=BYTES):
        self.reads = 0
        items = self.exchange._walk_down(bytes(4) + count.to_bytes(4, "big") + size.to_bytes(4, "big"), cids)
        answer = dict(zip(items[::2], items[1::2], strict=True))
        assert 2 * len(answer) == len(items)
        assert all(self.blocks[cid] == block for cid, block in answer.items())
        return list(answer)


@pytest.mark.parametrize("order", [1, -1], ids=["newest first", "oldest first"])
def test_many_that_lie_above_each_other_bring_what_is_below_them_all(order):
    dag = Dag()
    cids = dag.chain(3000)
    asked = cids[:CIDS][::order]
    answer = dag.ask(asked)
    assert answer[:CIDS] == asked
    assert answer[CIDS:] == cids[CIDS:COUNT]
    assert dag.reads <= CIDS + 2 * COUNT


@pytest.mark.parametrize("order", [1, -1], ids=["newest first", "oldest first"])
def test_a_whole_chain_is_not_walked_from_each_of_its_blocks(order):
    dag = Dag()
    cids = dag.chain(CIDS)
    assert dag.ask(cids[::order]) == cids[::order]
    assert dag.reads <= CIDS + 2 * COUNT


def test_what_many_share_is_not_read_for_each_of_them():
    dag = Dag()
    shared = dag.chain(300)
    heads = [dag.add(shared[0], size=n) for n in range(CIDS)]
    assert dag.ask(heads) == heads + shared
    assert dag.reads <= CIDS + 2 * COUNT


def test_what_is_beside_what_is_found_comes_too():
    """A walk does not end at a block that is in the answer: others may lie beside and behind it."""
    dag = Dag()
    left, right = dag.chain(10), dag.chain(10)
    top = dag.add(left[0], right[0])
    assert set(dag.ask([left[0], top])) == {top, *left, *right}


def test_large_blocks_end_an_answer_at_its_size():
    dag = Dag()
    shared = dag.chain(6, size=1 << 20)
    heads = [dag.add(shared[0], size=n) for n in range(CIDS)]
    answer = dag.ask(heads)
    assert answer[:CIDS] == heads
    assert 0 < len(answer) - CIDS < 4
    assert sum(len(dag.blocks[cid]) for cid in answer) <= BYTES
    assert dag.reads <= 2 * CIDS + 2 * COUNT  # each walk may read one that does not fit
    assert max(dag.walked_bytes) <= 2 * BYTES
