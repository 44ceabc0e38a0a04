//! What goes into a replica and what comes out of it, as values.

use crate::chain::Built;
use crate::cid::{Cid, HashKind};
use crate::element_key::Side;
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
    /// Store that these were refused, with the blocks above: for [`Replica::load_refused`](crate::replica::Replica) at
    /// the next open. Each is named once, and a held node links to it.
    pub refused: Vec<Cid>,
    /// Ask the exchange for these.
    pub want: Vec<Want>,
    /// The exchange need not look for these any more.
    pub cancel: Vec<Cid>,
    /// Hand these payloads to the broadcaster.
    pub announce: Vec<Vec<u8>>,
    /// Things an operator should read once.
    pub warnings: Vec<String>,
}

/// Values of ours that have to be written: where they count, on which side, and what they are now. The paths lie side
/// by side: a large flush has a hundred thousand of them.
#[derive(Clone, Default, Debug)]
pub struct Changes {
    texts: String,
    lines: Vec<Line>,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    /// The path begins where that of the line before ends.
    end: usize,
    side: Side,
    value: u64,
}

impl Changes {
    pub fn push(&mut self, path: &str, side: Side, value: u64) {
        self.texts.push_str(path);
        let end = self.texts.len();
        self.lines.push(Line { end, side, value });
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// (path, side, value) in the order in which they were pushed.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Side, u64)> {
        let starts = std::iter::once(0).chain(self.lines.iter().map(|line| line.end));
        starts.zip(&self.lines).map(|(start, line)| {
            let path = self.texts.get(start..line.end).unwrap_or("");
            (path, line.side, line.value)
        })
    }
}

/// Nodes of ours to be stored in one step with the head of their author.
#[derive(Clone, Debug)]
pub struct Flush {
    pub author: PeerId,
    /// Of the live generation: its values are in the totals already.
    pub live: bool,
    pub blocks: Vec<Built>,
    pub section: [u8; 16],
    pub sequence: u64,
}
