"""What a store keeps in its datastore: blocks, the CIDs of refused ones that they link to, the heads of its own nodes,
cursors. Nothing else."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from crdtstats.errors import DataError

if TYPE_CHECKING:
    from crdtstats.effects import Block
    from crdtstats.protocols import Datastore

logger = logging.getLogger("crdtstats.store")

FORMAT_KEY = "/format"
FORMAT = b"crdtstats 2"
"""Layout of the keys, and form of the nodes. In 1, which no release wrote, they were signed over their bytes."""
BLOCKS_PREFIX = "/blocks"
REFUSED_PREFIX = "/refused"
"""Of blocks that do not decode. A version that decodes more has to take another prefix, and to ask for them again."""
OWN_PREFIX = "/own"
CURSORS_KEY = "/cursors"


def _key(prefix: str, cid: bytes) -> str:
    return f"{prefix}/b{base64.b32encode(cid).decode().rstrip('=').lower()}"


def _block_key(cid: bytes) -> str:
    return _key(BLOCKS_PREFIX, cid)


def _check_one_value(error: DataError) -> None:
    """Go on only where the datastore says that one value alone is damaged; else the datastore is."""
    if "key" not in error.attributes:
        raise error


def _cid_of_key(key: str) -> bytes:
    text = key.rsplit("/", 1)[-1][1:].upper()
    return base64.b32decode(text + "=" * (-len(text) % 8))


class Storage:
    """The layout of one store over any datastore. Any thread may call."""

    def __init__(self, datastore: Datastore) -> None:
        self._datastore = datastore
        self._lost: set[bytes] = set()

    def check_format(self) -> None:
        """Mark a new datastore as ours; refuse one of another format.

        Raises:
            DataError: it holds something else, or was written by a newer or an older version.
        """
        try:
            found = self._datastore.get(FORMAT_KEY)
        except KeyError:
            self._write([(FORMAT_KEY, FORMAT)])
            return
        if found != FORMAT:
            raise DataError(
                f"the datastore has format {found!r}, this version of crdtstats reads {FORMAT!r} alone: "
                "open it with the version that wrote it, nothing was changed",
                found=found,
            )

    def blocks(self, lost: list[tuple[bytes, DataError]] | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Yield (CID, block) of every stored block.

        Args:
            lost: gets (CID, error) of each that is damaged in the datastore; without it such a one is a ``DataError``.
        """
        last = ""
        try:
            for key, block in self._datastore.query(BLOCKS_PREFIX):
                yield _cid_of_key(key), block
                last = key
        except DataError as error:
            if lost is None:
                raise
            _check_one_value(error)
        else:
            return
        # The query has ended at a damaged value. The others are read one by one.
        for key, _ in self._datastore.query(BLOCKS_PREFIX, keys_only=True):
            if key <= last:
                continue
            try:
                block = self._datastore.get(key)
            except KeyError:
                continue
            except DataError as error:
                _check_one_value(error)
                lost.append((_cid_of_key(key), error))
                continue
            yield _cid_of_key(key), block

    def block(self, cid: bytes) -> bytes | None:
        """One stored block, or None where there is none. One that the datastore has lost is a ``DataError``."""
        try:
            return self._datastore.get(_block_key(cid))
        except KeyError:
            return None

    def block_to_serve(self, cid: bytes) -> bytes | None:
        """One stored block, or None: also where the datastore has lost it, which is logged once."""
        try:
            return self.block(cid)
        except DataError as error:
            _check_one_value(error)
            if cid not in self._lost:
                self._lost.add(cid)
                logger.error("damaged block, the next open asks peers for it: %s: %s", cid.hex(), error)
            return None

    def put_blocks(self, blocks: Iterable[tuple[bytes, bytes]], refused: Iterable[bytes] = ()) -> None:
        """Store foreign blocks, and that others were refused, durably and in one step."""
        nodes = [(_block_key(cid), block) for cid, block in blocks]
        self._write(nodes, [(_key(REFUSED_PREFIX, cid), b"") for cid in refused])

    def refused(self) -> list[bytes]:
        """CIDs of blocks that were refused. A stored block wins over them."""
        return [_cid_of_key(key) for key, _ in self._datastore.query(REFUSED_PREFIX, keys_only=True)]

    def drop_blocks(self, cids: Sequence[bytes]) -> None:
        """Remove blocks, durably: damaged ones."""
        keys = [_block_key(cid) for cid in cids]
        batch = getattr(self._datastore, "batch", None)
        if batch is not None:
            batch([], keys)
            return
        for key in keys:
            self._datastore.delete(key)
        self._datastore.sync()

    def own_head(self, peer_id: str) -> bytes | None:
        """CID of the last durable node that ``peer_id`` wrote here."""
        try:
            return self._datastore.get(f"{OWN_PREFIX}/{peer_id}")
        except KeyError:
            return None

    def cursors(self) -> dict[str, int]:
        """The cursors of the last durable flush."""
        try:
            return json.loads(self._datastore.get(CURSORS_KEY))
        except KeyError:
            return {}
        except ValueError as error:
            raise DataError("the stored cursors are damaged", key=CURSORS_KEY) from error

    def put_flush(
        self, author: str, blocks: Sequence[tuple[bytes, Block]], cursors: Mapping[str, int]
    ) -> None:
        """Store nodes of ours, the move of their author's head and the cursors, in one durable step."""
        # Of this very class: all others, those below it too, are promised ``bytes``, which is a copy.
        as_they_are = vars(type(self._datastore)).get("TAKES_BLOCKS", False)
        nodes = [(_block_key(cid), block if as_they_are else _copy(block)) for cid, block in blocks]
        moves: list[tuple[str, bytes]] = []
        if blocks:
            moves.append((f"{OWN_PREFIX}/{author}", blocks[-1][0]))
        if cursors:
            moves.append((CURSORS_KEY, json.dumps(dict(cursors), sort_keys=True).encode()))
        self._write(nodes, moves)

    def _write(
        self, first: Sequence[tuple[str, bytes | Block]], then: Sequence[tuple[str, bytes]] = ()
    ) -> None:
        """All in one durable step where the datastore has batches; else ``first`` is durable before ``then``."""
        batch = getattr(self._datastore, "batch", None)
        if batch is not None:
            batch([*first, *then])
            return
        for key, value in (*first, *then):
            # One by one: a node must not outlive a power loss that takes the one it links to.
            self._datastore.put(key, bytes(value))
            self._datastore.sync()


def _copy(block: Block) -> bytes:
    """The bytes of a block. Copying half a megabyte takes a moment; after it others have the interpreter."""
    copy = bytes(block)
    time.sleep(0)
    return copy
