//! When heads are announced, and how they are packed into broadcasts.

use crate::broadcast::{self, Head};
use crate::cid::Cid;
use crate::limits::{BROADCAST_BYTES_MAX, HEADS_PER_BROADCAST_MAX};
use rustc_hash::FxHashSet;

/// Longest wait, in ms, before the heads are announced to a peer that just connected. The jitter lets one of
/// several neighbours speak first, and the others then keep silent.
pub const CONNECT_DELAY_MS_MAX: u64 = 500;

/// xorshift64*: the jitter of announcements. The seed is an argument, so a run can be repeated.
pub struct Jitter(u64);

impl Jitter {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Jitter(seed | 1)
    }

    /// A number below `bound` (0 for 0).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0
            .wrapping_mul(0x2545_F491_4F6C_DD1D)
            .checked_rem(bound)
            .unwrap_or(0)
    }
}

/// The rhythm of announcing all heads again.
pub struct Announcements {
    interval_ms: u64,
    due_ms: u64,
    /// Heads that another peer announced since our last announcement.
    heard: FxHashSet<Cid>,
    jitter: Jitter,
}

impl Announcements {
    #[must_use]
    pub fn new(interval_ms: u64, now_ms: u64, seed: u64) -> Self {
        let mut out = Announcements {
            interval_ms,
            due_ms: 0,
            heard: FxHashSet::default(),
            jitter: Jitter::new(seed),
        };
        out.schedule(now_ms);
        out
    }

    /// When the heads are announced next.
    #[must_use]
    pub fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// A peer announced this head: we need not, this time.
    pub fn heard(&mut self, cid: &Cid) {
        // Bounded by what is held: only heads that we hold are noted.
        self.heard.insert(cid.clone());
    }

    /// A peer connected: it heard nothing so far, so all heads are announced soon.
    pub fn peer_connected(&mut self, now_ms: u64) {
        let soon = now_ms.saturating_add(self.jitter.below(CONNECT_DELAY_MS_MAX));
        self.due_ms = self.due_ms.min(soon);
        self.heard.clear();
    }

    /// Whether it is time; if so, which heads others announced meanwhile, and the next time is set.
    pub fn take_due(&mut self, now_ms: u64) -> Option<FxHashSet<Cid>> {
        (now_ms >= self.due_ms).then(|| {
            self.schedule(now_ms);
            std::mem::take(&mut self.heard)
        })
    }

    fn schedule(&mut self, now_ms: u64) {
        // interval ± 30 %
        let spread = self.interval_ms.saturating_mul(6) / 10;
        let least = self.interval_ms.saturating_mul(7) / 10;
        self.due_ms = now_ms
            .saturating_add(least)
            .saturating_add(self.jitter.below(spread.saturating_add(1)));
    }
}

/// Pack heads into as few broadcasts as the limits allow. A head's block rides along while its message stays small.
#[must_use]
pub fn pack(heads: &[Head<'_>]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut batch: Vec<Head<'_>> = Vec::new();
    let mut bytes = 0;
    for head in heads {
        // Tags and lengths of a head and its three fields: at most 4 × (2 + 5) bytes.
        let bare = head.cid.as_bytes().len() + head.dag_name.len() + 28;
        let block = head
            .block
            .filter(|block| bare + block.len() <= BROADCAST_BYTES_MAX);
        let size = bare + block.map_or(0, <[u8]>::len);
        if !batch.is_empty()
            && (batch.len() >= HEADS_PER_BROADCAST_MAX || bytes + size > BROADCAST_BYTES_MAX)
        {
            out.push(broadcast::encode(&batch));
            batch.clear();
            bytes = 0;
        }
        bytes += size;
        batch.push(Head {
            cid: head.cid.clone(),
            dag_name: head.dag_name,
            block,
        });
    }
    if !batch.is_empty() {
        out.push(broadcast::encode(&batch));
    }
    out
}
