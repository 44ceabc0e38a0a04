//! What goes into a replica and what comes out of it, as values.

use crate::chain::Built;
use crate::cid::{Cid, HashKind};
use crate::judge::Rules;
use crate::peer_id::PeerId;
use crate::wants::Want;

/// How a replica lives in its network.
#[derive(Clone, Debug)]
pub struct Config {
    pub rules: Rules,
    /// Hash of the nodes that we write.
    pub hash: HashKind,
    pub announce_interval_ms: u64,
}

/// What the outside has to do.
#[derive(Default, Debug)]
pub struct Effects {
    /// Store these blocks; then the exchange may be told of them.
    pub store: Vec<(Cid, Vec<u8>)>,
    /// Ask the exchange for these.
    pub want: Vec<Want>,
    /// The exchange need not look for these any more.
    pub cancel: Vec<Cid>,
    /// Hand these payloads to the broadcaster.
    pub announce: Vec<Vec<u8>>,
    /// Things an operator should read once.
    pub warnings: Vec<String>,
}

/// A value of ours that has to be written: where it counts, and what it is now.
#[derive(Clone, Debug)]
pub struct Changed {
    pub path: String,
    pub incr: u64,
    pub decr: u64,
}

/// Nodes of ours to be stored in one step with the head of their author.
#[derive(Clone, Debug)]
pub struct Flush {
    pub author: PeerId,
    pub blocks: Vec<Built>,
    pub section: [u8; 16],
    pub sequence: u64,
}
