//! Limits, each with its reason.

/// Bytes of a clean data key. Leaves room for kind, replica and generation in an element key of 1 KiB.
pub const KEY_BYTES_MAX: usize = 896;
/// Components of a data key: bounds what one increment moves in the tree of totals.
pub const KEY_DEPTH_MAX: usize = 64;
/// Bytes of a block that we write: small enough to be fetched at once, large enough to be rare.
pub const BLOCK_BYTES_MAX: usize = 512 * 1024;
/// Bytes of a block that we take: what Go peers can send with bitswap's framing around it.
pub const BLOCK_BYTES_TAKEN_MAX: usize = 4 * 1024 * 1024;
/// Links of a node that we write.
pub const LINKS_MAX: usize = 4096;
/// Bytes of a broadcast that we make.
pub const BROADCAST_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a broadcast that we take: gossipsub's own limit less its framing.
pub const BROADCAST_BYTES_TAKEN_MAX: usize = 1_048_426;
/// Heads in a broadcast that we make.
pub const HEADS_PER_BROADCAST_MAX: usize = 1024;
/// Bytes of a dagName that we write.
pub const DAG_NAME_BYTES_MAX: usize = 128;
/// Nesting of unknown protobuf groups: that of Go's decoder.
pub const GROUP_DEPTH_MAX: usize = 10_000;
/// Bytes of a block inside an identity CID: Go takes no more.
pub const IDENTITY_BYTES_MAX: usize = 128;
/// Bytes of a dagName that we take: every name is remembered.
pub const DAG_NAME_BYTES_TAKEN_MAX: usize = 1024;
/// Bytes of a CID: the longest digest that we read is 64 bytes; identity digests may be longer.
pub const CID_BYTES_MAX: usize = 168;
/// Bytes of (key, block) pairs that tombstones name: all are remembered. Beyond it a tombstone does nothing, which is
/// counted, and what entries show is unknown.
pub const TOMBSTONE_BYTES_MAX: usize = 64 << 20;
/// Bytes of entries that others can make: foreign keys, and what they say of our sub-counters. Beyond it none
/// more is kept, and what it would show is unknown.
pub const ENTRY_BYTES_MAX: usize = 256 << 20;
/// Names of DAGs that others can make, but for those of signed nodes that are held. Nodes of more are merged and
/// served, but are the heads of none.
pub const DAG_NAMES_MAX: usize = 1 << 14;
/// DAGs to which heads may say that a missing node belongs: who is first does not decide, if he lies.
pub const CLAIMS_MAX: usize = 8;
/// CIDs of refused blocks that no held node links to: never asked for again, until more recent ones push them out.
pub const REFUSED_MAX: usize = 1 << 16;
/// Blocks that the outside is asked for at a time while keys are counted again.
pub const AGAIN_BLOCKS_MAX: usize = 256;
/// Sub-counters that one flush writes again because Go peers show less.
pub const HEAL_KEYS_MAX: usize = 1 << 16;
