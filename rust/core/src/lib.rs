//! Keys, CIDs, DAG nodes, deltas, state and merge of crdtstats.
//!
//! Sans-IO and deterministic: time, randomness and bytes come in as arguments, effects go out as values.

mod ahead;
pub mod announce;
pub mod authors;
mod base;
pub mod belonging;
mod bounds;
pub mod broadcast;
pub mod chain;
pub mod cid;
mod completing;
pub mod dag;
pub mod delta;
pub mod effects;
pub mod element_key;
pub mod entries;
pub mod error;
mod hash;
pub mod hashed;
pub mod heads;
pub mod healing;
pub mod identity;
mod index;
pub mod judge;
pub mod key;
pub mod limits;
pub mod merge;
pub mod node;
pub mod paths;
pub mod peer_id;
pub mod proto;
mod recount;
mod refused;
pub mod replica;
mod rooms;
pub mod signature;
pub mod state;
mod sub_counters;
mod texts;
mod tombstones;
mod values;
pub mod varint;
mod waiting;
pub mod wants;
pub mod writing;
