//! The limits of what is written and accepted, each with its reason.

/// Greatest block that is accepted: a Go peer takes 4 MiB.
pub const BLOCK_BYTES_MAX: usize = 4 << 20;
/// Greatest block that we write: eight of them fit a Go peer's inbox of one message.
pub const OWN_BLOCK_BYTES_MAX: usize = 512 << 10;
/// Greatest gossip payload: Go peers lose a longer one without an error.
pub const PAYLOAD_BYTES_MAX: usize = 1_048_426;
/// Greatest payload in which the heads' blocks ride along.
pub const BROADCAST_BYTES_MAX: usize = 64 << 10;
/// Most links in a node of ours; more heads make several nodes.
pub const OWN_LINKS_MAX: usize = 4096;
/// Most heads in a payload of ours.
pub const OWN_HEADS_MAX: usize = 1024;
/// Longest element key that we write; holds a data key, a peer id and a generation.
pub const ELEMENT_KEY_BYTES_MAX: usize = 1024;
/// Longest data key: what an element key leaves beside `/STATS/incr/`, a peer id and a generation.
pub const KEY_BYTES_MAX: usize = 896;
/// Most components of a data key: bounds the ancestors that one increment moves.
pub const KEY_DEPTH_MAX: usize = 64;
/// Longest dagName that we write.
pub const DAG_NAME_BYTES_MAX: usize = 128;
/// Longest topic: its length is signed as two bytes.
pub const TOPIC_BYTES_MAX: usize = u16::MAX as usize;
/// Longest identity digest: Go refuses longer ones.
pub const IDENTITY_DIGEST_BYTES_MAX: usize = 128;
/// Longest CID, peer id or key as text: base58 costs the square of its length.
pub const TEXT_BYTES_MAX: usize = 512;
/// Deepest nesting of unknown protobuf groups: as Go's decoder.
pub const GROUP_DEPTH_MAX: usize = 10_000;
