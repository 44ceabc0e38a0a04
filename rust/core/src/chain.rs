//! What we write: changed sub-counters become signed nodes of our own.

use crate::cid::{Cid, HashKind};
use crate::delta::{self, Delta, Native};
use crate::element_key::{self, Side};
use crate::error::WireError;
use crate::heads::HeadInfo;
use crate::identity::Signer;
use crate::limits::{BLOCK_BYTES_MAX, LINKS_MAX};
use crate::node::Draft;

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
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub dag_name: &'a str,
    pub topic: &'a str,
    pub hash: HashKind,
    /// A height that the nodes stand above, whatever they link to.
    pub above: u64,
    pub signer: &'a dyn Signer,
}

/// Bytes of a node beside its elements and links: native fields, signature, dagName, lengths. Generous.
const NODE_OVERHEAD_BYTES: usize = 512;
/// Bytes of a link beside its CID.
const LINK_OVERHEAD_BYTES: usize = 12;
/// Bytes of an element beside its origin: the path, tags, lengths, value. A guess that spares growing.
const ELEMENT_BYTES_ABOUT: usize = 64;

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
}

/// Turns elements, in the order given, into as few nodes as the block limit allows: the first links to the heads, each
/// further one to the one before. An element is written once, into the block that it belongs to.
pub(crate) struct Writer<'a> {
    target: Target<'a>,
    section: Section,
    /// `/<replica>/<generation>`.
    origin: String,
    height: u64,
    links: Vec<Cid>,
    /// The node that elements are added to, if it has one already.
    node: Option<Draft>,
    /// Bytes of elements that still fit it.
    left: usize,
    /// Elements that are still to come, about.
    expected: usize,
    built: Vec<Built>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(
        target: Target<'a>,
        section: Section,
        heads: &[HeadInfo],
        origin: String,
        expected: usize,
    ) -> Self {
        let highest = heads.iter().map(|h| h.height).max().unwrap_or(0);
        let mut links: Vec<Cid> = heads.iter().map(|h| h.cid.clone()).collect();
        links.sort_unstable();
        links.truncate(LINKS_MAX); // the rest stay heads: the next flush links to them
        Writer {
            target,
            section,
            origin,
            height: highest.max(target.above),
            links,
            node: None,
            left: 0,
            expected,
            built: Vec::new(),
        }
    }

    /// Add the running total of one side of a sub-counter.
    ///
    /// # Errors
    /// The signer refuses, or the height or sequence has reached its end.
    pub(crate) fn push(&mut self, side: Side, path: &str, value: u64) -> Result<(), WireError> {
        let kind = element_key::kind(side);
        self.make_room(kind.len() + path.len() + self.origin.len())?;
        if let Some(node) = &mut self.node {
            delta::push_counter(node.delta(), [kind, path, &self.origin], value);
        }
        Ok(())
    }

    /// As [`Writer::push`], under a whole element key.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn push_whole(&mut self, written: &Written<'_>) -> Result<(), WireError> {
        self.make_room(written.key.len())?;
        if let Some(node) = &mut self.node {
            delta::push_counter(node.delta(), [written.key, "", ""], written.value);
        }
        Ok(())
    }

    /// A node that has room for one more element with a key of so many bytes, which is about to be written.
    fn make_room(&mut self, key_bytes: usize) -> Result<(), WireError> {
        let len = delta::counter_len(key_bytes);
        if self.node.is_some() && self.left < len {
            self.close()?;
        }
        if self.node.is_none() {
            let links = self
                .links
                .iter()
                .map(|l| l.as_bytes().len() + LINK_OVERHEAD_BYTES);
            let beside = NODE_OVERHEAD_BYTES + links.sum::<usize>();
            self.left = BLOCK_BYTES_MAX.saturating_sub(beside);
            let about = self.origin.len() + ELEMENT_BYTES_ABOUT;
            let elements = self.expected.saturating_mul(about).max(len).min(self.left);
            self.node = Some(Draft::new(&self.links, elements + NODE_OVERHEAD_BYTES));
        }
        self.left = self.left.saturating_sub(len);
        self.expected = self.expected.saturating_sub(1);
        Ok(())
    }

    /// The nodes, and the section as it is after them.
    ///
    /// # Errors
    /// As of [`Writer::push`].
    pub(crate) fn finish(mut self) -> Result<(Vec<Built>, Section), WireError> {
        self.close()?;
        Ok((self.built, self.section))
    }

    fn close(&mut self) -> Result<(), WireError> {
        let Some(mut node) = self.node.take() else {
            return Ok(());
        };
        let height = self
            .height
            .checked_add(1)
            .ok_or(WireError::limit("height"))?;
        let sequence = self
            .section
            .written
            .checked_add(1)
            .ok_or(WireError::limit("sequence"))?;
        let Target {
            dag_name,
            topic,
            hash,
            signer,
            above: _,
        } = self.target;
        let author = signer.peer_id().as_bytes();
        let rest = Delta {
            priority: height,
            dag_name,
            native: Some(Native::delta(author, self.section.nonce, sequence)),
            ..Delta::default()
        };
        delta::push(node.delta(), &rest);
        let (cid, block) = node.seal(&self.links, signer, topic, hash)?;
        let links = std::mem::replace(&mut self.links, vec![cid.clone()]);
        (self.height, self.section.written) = (height, sequence);
        self.built.push(Built {
            cid,
            block,
            links,
            height,
            sequence,
        });
        Ok(())
    }
}
