//! The rules of crdtstats: keys, CIDs, DAG nodes, deltas, state and merge.
//!
//! Sans-IO: time, randomness and bytes come in as arguments, effects go out as values.
//! Decoders take any bytes: they never panic, borrow what they can, and say what is wrong and where.

pub mod broadcast;
pub mod cid;
pub mod dag_pb;
pub mod delta;
pub mod element_key;
pub mod error;
pub mod hash;
pub mod identity;
pub mod key;
pub mod limits;
pub mod multibase;
pub mod node;
pub mod peer_id;
pub mod signature;
pub mod varint;
