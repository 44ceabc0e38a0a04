"""The extension module: counting and reading, the engine behind a store, the codec, facts about processes.

Users meet :class:`Counters` (as the base of ``CRDTStatsStore``), :class:`Counter` and :class:`Identity`;
the rest is for the package itself and may change. Calls raise the errors of ``crdtstats.errors``.
"""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, Protocol, Self, TypeAlias, final, type_check_only

from typing_extensions import Buffer, disjoint_base

from crdtstats.columns import ArrowArray, ArrowStream, Ids, Table
from crdtstats.effects import Block, Effects, FlushPlan

__all__ = [
    "Block",
    "Counter",
    "Counters",
    "Effects",
    "Engine",
    "FlushPlan",
    "Identity",
    "Ids",
    "Items",
    "Leftover",
    "ParentOnly",
    "Table",
    "XSalsa20",
    "__version__",
    "check_block",
    "cid",
    "cid_of",
    "clean_key",
    "close_guarded",
    "decode_broadcast",
    "decode_node",
    "encode_broadcast",
    "encode_key_component",
    "encode_node",
    "file_place",
    "fork_epoch",
    "guard_fd",
    "leak",
    "leftovers",
    "open_guarded",
    "release_fd",
]

__version__: str

_Column: TypeAlias = Buffer | ArrowArray | ArrowStream

@disjoint_base
class Counters:
    """What users call at high rate: counting and reading.

    A key is ``/``-separated text, cleaned as go-datastore cleans: ``a//b/`` and ``/a/b`` are the same key.
    Amounts are ints, ``0 <= n < 2**63``; a negative one counts on the other side. Any thread may call.

    Every call raises ``ClosedError`` after ``close()`` and in a process that was forked from the store's own.
    """

    # The arguments are those of the subclass's __init__.
    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self: ...
    def increment(self, key: str, n: int | None = None, /) -> None:
        """Count ``n`` (1 when left out) for ``key``: survives ``kill -9`` when the call has returned.

        Cost: a hash of the key and an add in mapped memory; no I/O, except when the journal grows.

        Args:
            key: not the root; at most 896 bytes and 64 components when clean.
            n: 0 is legal and free; a negative one counts as a decrement of ``-n``.

        Raises:
            UsageError: a key or an amount that is none; nothing is counted.
            CounterOverflowError: the sub-counter would pass ``2**64 - 1``; nothing is counted.
            UnavailableError: the journal cannot grow (disk full); nothing is counted.
        """

    def decrement(self, key: str, n: int | None = None, /) -> None:
        """Count ``n`` (1 when left out) down; as :meth:`increment` in everything else."""

    def counter(self, key: str) -> Counter:
        """Resolve ``key`` once: its ``inc()`` is the fastest single call there is."""

    def update(
        self,
        batch: Mapping[str, int] | Iterable[str] | _Column,
        amounts: Iterable[int] | _Column | None = None,
        /,
        *,
        cursor: tuple[str, int] | None = None,
    ) -> None:
        """Count a batch: all of it, or, where anything in it is wrong, nothing.

        Columns are the fastest: they are read where they are, and from 170 rows on other threads run meanwhile.

        Args:
            batch: a mapping from key to amount, or keys (1 each, or ``amounts``): an iterable or an Arrow column of
                text; or ids: what :meth:`ids` gave, any uint32 buffer or Arrow column of them.
            amounts: as many: an iterable of ints, a contiguous buffer or Arrow column of int64 or uint64, no nulls.
            cursor: a name and a position above the last one: the batch and the cursor move in one step that
                ``kill -9`` cannot split. After power loss, or in a copied directory: at least once.

        Raises:
            UsageError: a bad key, id, amount or column, or a position at or before the cursor.
            CounterOverflowError: a sub-counter would pass ``2**64 - 1``.
            UnavailableError: the journal cannot grow.
        """

    def ids(self, keys: Iterable[str] | ArrowArray | ArrowStream) -> Ids:
        """Resolve many keys once: the column of their ids, in their order, for :meth:`update`.

        They are valid until this store is closed. New keys get a count of 0. Raises as :meth:`increment`.

        Cost: about a look-up for each key. The first time a key is asked for it takes some 24 bytes more of memory, up
        to 35 in the journal, and from 262,144 ids on memory is taken for as many at a time. Counting by ids then
        touches 8 bytes of a key; the next read or flush goes to each key that moved, some 50 ns each. Single calls on
        such a key take some 10 ns longer.
        """

    def cursor(self, name: str) -> int | None:
        """The last position of a named cursor, after a restart too; None where it never moved."""

    def get(self, key: str, /) -> int:
        """The value of exactly this key over all replicas; 0 for one that nobody counted. May be negative.

        Raises:
            UsageError: a key that is none.
        """

    def total(self, prefix: str | None = None, /) -> int:
        """The sum of this key and all keys below it, exact beyond 64 bits.

        Cost: does not depend on how many keys, replicas and restarts there are.
        """

    def get_aggregated_stat(self, prefix: str | None = None, /) -> int:
        """:meth:`total`, never below 0."""

    def children(self, prefix: str | None = None, /) -> dict[str, int]:
        """The next components below ``prefix`` and the totals of their subtrees, sorted by name."""

    def top(self, prefix: str | None = None, n: int | None = None, /) -> list[tuple[str, int]]:
        """The ``n`` (10) largest keys strictly below ``prefix`` with their values, ties by key."""

    def items(self, prefix: str | None = None, /) -> Items:
        """Iterate (key, value) at and below ``prefix``, sorted by key, as they are at the call."""

    def to_arrow(self, prefix: str | None = None, /, *, int64: bool = False) -> Table:
        """The keys at and below ``prefix`` and their values as a table, sorted by key, as they are at the call.

        Values are decimal128(38, 0), which every sum of counters fits, or ``int64``: ``CounterOverflowError`` where
        one does not fit.
        """

    @staticmethod
    def key(*parts: str | bytes) -> str:
        """A key of arbitrary names, one component each.

        A part that is empty, ``.`` or ``..``, holds ``/`` or is not UTF-8 is percent-encoded.

        Raises:
            UsageError: no part at all, or a key past the limits.
        """

    def _attach(self, engine: Engine) -> None: ...

@final
class Counter:
    """One key of one open store, resolved."""

    def inc(self, n: int | None = None, /) -> None:
        """As ``increment`` of the key."""

    def dec(self, n: int | None = None, /) -> None:
        """As ``decrement`` of the key."""

    @property
    def key(self) -> str:
        """The clean key."""

    @property
    def value(self) -> int:
        """The value over all replicas, as ``get`` of the key."""

@final
class Items:
    """An iterator over (key, value)."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> tuple[str, int]: ...

@final
class XSalsa20:
    """The cipher of private networks, one direction of a connection: 32 bytes of key, 24 of a nonce used once."""

    def __new__(cls, key: bytes, nonce: bytes) -> Self: ...
    def apply(self, data: bytes) -> bytes:
        """``data`` enciphered, or deciphered; goes on where the call before ended."""

@final
class Identity:
    """An Ed25519 private key, ``data`` as libp2p marshals it: who a replica is.

    Raises ``UsageError``: another kind of key, or bytes that are none.
    """

    def __new__(cls, data: bytes) -> Self: ...
    @staticmethod
    def generate() -> Identity:
        """A new key, from the operating system's randomness."""

    @property
    def peer_id(self) -> str:
        """The peer id, base58."""

    def to_bytes(self) -> bytes:
        """The key as libp2p marshals it: keep it secret."""

    def sign(self, data: bytes) -> bytes:
        """The Ed25519 signature of ``data``, 64 bytes."""

@type_check_only
class _Signer(Protocol):
    @property
    def peer_id(self) -> str: ...
    def sign(self, data: bytes, /) -> bytes: ...

def cid_of(prefix: bytes, block: bytes) -> bytes:
    """The CID of ``block`` by bitswap's prefix (four varints). Raises ``RemoteError`` when it is none that is known."""

def check_block(cid: bytes, block: bytes) -> None:
    """Return when ``block`` is what ``cid`` names. Raises ``RemoteError`` when it is not, or ``cid`` is none."""

def cid(block: bytes, hash: str) -> bytes:
    """The CIDv1 of a node. Raises ``UsageError`` for a hash that is not written."""

def clean_key(text: str) -> str:
    """The key as go-datastore cleans it, with its leading ``/``. Checks no limits."""

def encode_key_component(part: bytes) -> str:
    """One key component that stands for ``part``, percent-encoded where it has to be."""

def encode_node(
    links: list[bytes],
    put: list[tuple[str, str, bytes]],
    removed: list[tuple[str, str, bytes]],
    priority: int,
    dag_name: str,
) -> bytes:
    """The block of an unsigned node; elements are (key, id, value). Raises ``UsageError``."""

def decode_node(
    block: bytes, topic: str | None
) -> tuple[
    list[bytes],
    list[tuple[str, str, bytes]],
    list[tuple[str, str, bytes]],
    int,
    str,
    tuple[bytes, bytes, int, int, bool] | None,
    tuple[Literal["valid", "unsigned", "invalid"], str | None] | None,
    bool,
]:
    """Links, elements, tombstones, priority, dagName, (author, section, sequence, kind, newer version),
    (signature, signer; only with ``topic``), exact form. Raises ``RemoteError``."""

def encode_broadcast(heads: list[tuple[bytes, str, bytes | None]]) -> bytes:
    """The payload of heads (CID, dagName, block). Raises ``UsageError``."""

def decode_broadcast(payload: bytes) -> list[tuple[bytes, str, bytes | None]]:
    """The heads of a payload. Raises ``RemoteError``."""

@final
class Engine:
    """The core and the live journal of one store: decides what is to be stored, wanted and announced.

    Does no network and no datastore I/O: :class:`Effects` and :class:`FlushPlan` say what the caller does.
    """

    def __new__(
        cls,
        *,
        topic: str,
        native: bool,
        hash: str,
        peer_id: str,
        announce_interval_s: float,
        now_ms: int,
        seed: int,
    ) -> Self: ...
    def load(self, blocks: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, str]]:
        """Take stored blocks in; gives the damaged ones, with the reason."""

    def note_lost(self, cids: list[bytes]) -> None:
        """Note blocks that were here and could not be loaded: a peer that gives one back is no sign of a clone."""

    def load_refused(self, cids: list[bytes]) -> None:
        """Take stored ``Effects.refused`` in, before or after the blocks. One that is held stays held."""

    def load_cursors(self, cursors: Mapping[str, int]) -> None:
        """Take the cursors of the last durable flush."""

    def recover(self, leftover: Leftover, signer: _Signer, section: bytes) -> FlushPlan | None:
        """Join the journal of a dead process; the plan publishes what exceeds the state.

        ``section``: 16 fresh random bytes.
        """

    def start(
        self,
        journal_dir: str | PathLike[str],
        random: bytes,
        section: bytes,
        table_seed: int,
    ) -> None:
        """Make the live journal. ``random`` is 96 fresh random bits, ``section`` 128, ``table_seed`` 64."""

    def begin_flush(self, signer: _Signer, hurried: bool, first: bool) -> FlushPlan | None:
        """Turn what is dirty into nodes; None when there is nothing. A retry gives the same bytes again."""

    def catch_up(self) -> None:
        """Bring what was counted into the totals: after hurried flushes, where nobody waits for it."""

    @staticmethod
    def trim_memory() -> None:
        """Give memory back to the system that large work has left with the allocator: takes milliseconds."""

    def flush_stored(self) -> None:
        """The last plan is durable: it may be announced and served."""

    def is_dirty(self) -> bool:
        """Was anything counted since the last flush?"""

    def has_written(self) -> bool:
        """Did this process write a node?"""

    def handle_payload(self, payload: bytes, peer: str | None) -> None:
        """Take a broadcast in. ``RemoteError``: it does not decode, or a block in it is not what its CID names."""

    def handle_block(self, cid: bytes, block: bytes) -> None:
        """Take a fetched block in. ``RemoteError``: it does not decode, or is not what ``cid`` names."""

    def peer_connected(self, now_ms: int) -> None:
        """A peer came: the heads are announced soon."""

    def poll(self, now_ms: int) -> Effects:
        """What has to be done now."""

    def due_ms(self) -> int:
        """When ``poll`` is due without anything happening."""

    def holds(self, cid: bytes) -> bool:
        """Was this block published or taken in?"""

    def walk_down(self, cid: bytes, count: int) -> list[bytes]:
        """At most ``count`` CIDs of blocks held, from ``cid`` down its links."""

    def announcement(self) -> list[bytes]:
        """The broadcast payloads that name all heads."""

    def heads(self) -> dict[str, list[tuple[bytes, int]]]:
        """The heads of each DAG with their heights, by DAG name."""

    # Values as Go peers show them: see `CRDTStatsStore.entry`, and engine/src/values.rs.
    def hold(self, peer_id: str) -> None: ...
    def entry(self, key: str) -> bytes | None: ...
    def take_again(self, now_ms: int) -> list[bytes]: ...
    def look_again(self, cid: bytes, block: bytes | None) -> None: ...
    def heal_due_ms(self, now_ms: int) -> int | None: ...
    def begin_heal(self, signer: _Signer, section: bytes, now_ms: int) -> FlushPlan | None: ...
    def status(self) -> dict[str, int | bool | dict[str, int]]:
        """The engine's part of ``store.status()``."""

    def stop_counting(self) -> None:
        """Turn writers away: from here on they get ``ClosedError``."""

    def finish(self, durable: bool) -> None:
        """Let go of the live journal; ``durable``: all of it is in blocks, so it is removed."""

    def ring(self) -> None:
        """Wake whoever is in ``wait``."""

    def wait(self, timeout_s: float) -> None:
        """Wait until something was counted after a flush, or somebody rang, or the time is over."""

@final
class Leftover:
    """The journal of a dead process, locked.

    Raises:
        DataError: the header is damaged, or of a version that is not known.
        UnavailableError: its maker lives.
    """

    def __new__(cls, path: str | PathLike[str]) -> Self: ...
    @property
    def replica(self) -> str:
        """The peer id under which it counted."""

    @property
    def generation(self) -> str:
        """Its generation, in hex."""

    def remove(self) -> None:
        """Remove the file: everything in it is durable elsewhere."""

    def close(self) -> None:
        """Let go of it; the file stays."""

def leftovers(journal_dir: str | PathLike[str]) -> Sequence[str]:
    """Paths of journals whose makers are dead, sorted."""

def fork_epoch() -> int:
    """How often this process's line was forked since the module was imported."""

def guard_fd(fd: int) -> None:
    """Have children of ``fork()`` close ``fd``.

    Raises:
        ValueError: a negative number.
        UnavailableError: too many are guarded.
    """

def release_fd(fd: int) -> bool:
    """Take ``fd`` back; False: this process does not own it, so leave the number alone."""

def open_guarded(path: str | PathLike[str], flags: int, mode: int) -> int:
    """Open a file that no forked child keeps open; close it with :func:`close_guarded`.

    Raises:
        OSError: as ``os.open``.
        UnavailableError: too many are guarded, or other threads keep forking.
    """

def close_guarded(fd: int) -> bool:
    """Close what :func:`open_guarded` gave, where this process owns it. Unlocks nothing."""

def file_place(file: int | str | PathLike[str]) -> tuple[Literal["birth", "device"], int, int]:
    """Where a file is, so that a copy is told from its original.

    ``("birth", inode, birth time in ns)``, or ``("device", device, inode)`` where no birth time is told.

    Raises:
        OSError: no such file.
    """

def leak(object: object) -> None:
    """Never free ``object``."""

@final
class ParentOnly:
    """A reference that a forked child never gives back."""

    def __new__(cls, object: object) -> Self: ...
    @property
    def object(self) -> object:
        """What is referred to."""

    @property
    def inherited(self) -> bool:
        """Did this process get it through ``fork()``?"""
