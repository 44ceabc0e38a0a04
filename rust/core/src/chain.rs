//! What we write: changed sub-counters become signed nodes of our own.

use crate::cid::{Cid, HashKind};
use crate::delta::{Delta, Element, Native};
use crate::error::WireError;
use crate::heads::HeadInfo;
use crate::identity::Signer;
use crate::limits::{BLOCK_BYTES_MAX, LINKS_MAX};
use crate::node;

/// A node of ours that is made, but not stored yet. A retry stores the same bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Built {
    pub cid: Cid,
    pub block: Vec<u8>,
    pub links: Vec<Cid>,
    pub height: u64,
    pub sequence: u64,
}

/// One side of a sub-counter as it is written: the element key and the running total.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written<'a> {
    pub key: &'a str,
    pub value: u64,
}

/// A section of one author's nodes: opened by a start of a store, numbered without gaps.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    nonce: [u8; 16],
    written: u64,
}

/// Where and how nodes are written.
pub struct Target<'a> {
    pub dag_name: &'a str,
    pub topic: &'a str,
    pub hash: HashKind,
    /// A height that the nodes stand above, whatever they link to.
    pub above: u64,
    pub signer: &'a dyn Signer,
}

/// Bytes of a node beside its elements and links: native fields, signature, dagName, lengths. Generous.
const NODE_OVERHEAD_BYTES: usize = 512;
/// Bytes of an element beside its key: tags, lengths, eight bytes of value.
const ELEMENT_OVERHEAD_BYTES: usize = 20;
/// Bytes of a link beside its CID.
const LINK_OVERHEAD_BYTES: usize = 12;

impl Section {
    #[must_use]
    pub fn new(nonce: [u8; 16]) -> Self {
        Section { nonce, written: 0 }
    }

    #[must_use]
    pub fn nonce(&self) -> [u8; 16] {
        self.nonce
    }

    /// Numbers up to this one are given.
    pub(crate) fn advance(&mut self, written: u64) {
        self.written = self.written.max(written);
    }

    /// The last sequence number given; 0 before the first.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Turn elements, in the order given, into as few nodes as the block limit allows: the first links to `heads`,
    /// each further one to the one before. No sequence number is used where this fails.
    ///
    /// # Errors
    /// The signer refuses, or the height or sequence has reached its end.
    pub fn build(
        &mut self,
        target: &Target<'_>,
        heads: &[HeadInfo],
        written: &[Written<'_>],
    ) -> Result<Vec<Built>, WireError> {
        let highest = heads.iter().map(|h| h.height).max().unwrap_or(0);
        let mut height = highest.max(target.above);
        let mut links: Vec<Cid> = heads.iter().map(|h| h.cid.clone()).collect();
        links.sort_unstable();
        links.truncate(LINKS_MAX); // the rest stay heads: the next flush links to them
        let values: Vec<[u8; 8]> = written.iter().map(|w| w.value.to_be_bytes()).collect();
        let elements: Vec<Element<'_>> = written
            .iter()
            .zip(&values)
            .map(|(w, value)| Element {
                key: w.key,
                id: "",
                value,
            })
            .collect();
        let author = target.signer.peer_id();
        let (mut out, mut rest, mut sequence) = (Vec::new(), elements.as_slice(), self.written);
        while !rest.is_empty() {
            let link_bytes: usize = links
                .iter()
                .map(|l| l.as_bytes().len() + LINK_OVERHEAD_BYTES)
                .sum();
            let (now, later) = rest.split_at(fitting(rest, link_bytes));
            height = height.checked_add(1).ok_or(WireError::limit("height"))?;
            sequence = sequence
                .checked_add(1)
                .ok_or(WireError::limit("sequence"))?;
            let delta = Delta {
                elements: now.to_vec(),
                tombstones: Vec::new(),
                priority: height,
                dag_name: target.dag_name,
                native: Some(Native::delta(author.as_bytes(), self.nonce, sequence)),
            };
            let (cid, block) =
                node::encode_signed(&links, &delta, target.signer, target.topic, target.hash)?;
            let links = std::mem::replace(&mut links, vec![cid.clone()]);
            out.push(Built {
                cid,
                block,
                links,
                height,
                sequence,
            });
            rest = later;
        }
        self.written = sequence;
        Ok(out)
    }
}

/// How many of `elements` fit one block; at least one.
fn fitting(elements: &[Element<'_>], link_bytes: usize) -> usize {
    let mut bytes = NODE_OVERHEAD_BYTES + link_bytes;
    let over = elements.iter().position(|element| {
        bytes += element.key.len() + ELEMENT_OVERHEAD_BYTES;
        bytes > BLOCK_BYTES_MAX
    });
    over.unwrap_or(elements.len()).max(1)
}
