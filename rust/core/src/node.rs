//! DAG nodes: links and a delta in dag-pb.

use crate::cid::{Cid, HashKind};
use crate::delta::{self, Delta};
use crate::error::WireError;
use crate::identity::Signer;
use crate::key;
use crate::limits::BLOCK_BYTES_TAKEN_MAX;
use crate::proto::{self, bytes_len, push_bytes};
use crate::{signature, varint};

const WHAT: &str = "DAG node";
const LINK: &str = "DAG link";
/// Field of a dag-pb node that holds a link, and that which holds the data.
const LINKS_FIELD: u64 = 2;
const DATA_FIELD: u64 = 1;

/// A decoded node, borrowed from its block.
#[derive(Debug)]
pub struct Node<'a> {
    /// In the order in which they lie.
    pub links: Vec<Cid>,
    pub delta: Delta<'a>,
    /// Whether a signature is where one may be: the only field 101, at the very end of the block.
    pub(crate) signature_in_place: bool,
    /// There is a field 101, and it is not there.
    pub(crate) signature_out_of_place: bool,
}

/// Read a block. Data may come before links; links may lack name and size.
///
/// # Errors
/// It is no DAG node: too large, truncated, malformed, or a link is no CID.
pub fn decode(block: &[u8]) -> Result<Node<'_>, WireError> {
    if block.len() > BLOCK_BYTES_TAKEN_MAX {
        return Err(WireError::TooLarge {
            what: WHAT,
            len: block.len(),
            max: BLOCK_BYTES_TAKEN_MAX,
        });
    }
    let (mut links, mut data, mut data_last) = (Vec::new(), None, false);
    let mut links_ended = false;
    for field in proto::fields(block, WHAT) {
        let field = field?;
        let bytes = proto::bytes(field.value, WHAT)?;
        data_last = field.number == DATA_FIELD;
        match field.number {
            LINKS_FIELD if links_ended => {
                return Err(WireError::malformed(
                    WHAT,
                    "it has links before and after its data",
                ));
            }
            LINKS_FIELD => links.push(decode_link(bytes)?),
            DATA_FIELD if data.is_none() => {
                data = Some(bytes);
                links_ended = !links.is_empty();
            }
            DATA_FIELD => return Err(WireError::malformed(WHAT, "it has data twice")),
            _ => return Err(WireError::malformed(WHAT, "it has an unknown field")),
        }
    }
    let decoded = delta::decode(data.unwrap_or_default())?;
    let in_place = data_last && decoded.signatures == 1 && decoded.ends_with_signature;
    Ok(Node {
        links,
        delta: decoded.delta,
        signature_in_place: in_place,
        signature_out_of_place: decoded.signatures > 0 && !in_place,
    })
}

fn decode_link(message: &[u8]) -> Result<Cid, WireError> {
    let (mut cid, mut last) = (None, 0);
    for field in proto::fields(message, LINK) {
        let field = field?;
        // As strict and as lenient as Go's decoder: what one takes and the other refuses would split the DAG.
        if field.number <= last {
            return Err(WireError::malformed(
                LINK,
                "a field is there twice or out of order",
            ));
        }
        last = field.number;
        match field.number {
            1 => cid = Some(Cid::from_link(proto::bytes(field.value, LINK)?)?),
            2 => drop(proto::bytes(field.value, LINK)?),
            3 => drop(proto::number(field.value, LINK)?),
            _ => return Err(WireError::malformed(LINK, "it has an unknown field")),
        }
    }
    cid.ok_or(WireError::malformed(LINK, "it has no hash"))
}

fn links_len(links: &[Cid]) -> usize {
    let len = |link: &Cid| bytes_len(LINKS_FIELD, bytes_len(1, link.as_bytes().len()) + 4);
    links.iter().map(len).sum()
}

fn push_links(out: &mut Vec<u8>, links: &[Cid]) {
    for link in links {
        let hash = link.as_bytes();
        // Name "" and Tsize 0 are both present.
        varint::push(out, (LINKS_FIELD << 3) | 2);
        varint::push(out, (bytes_len(1, hash.len()) + 4) as u64);
        push_bytes(out, 1, hash);
        out.extend_from_slice(&[0x12, 0, 0x18, 0]);
    }
}

/// The block of a node: links in the order given, then the delta.
#[must_use]
pub fn encode(links: &[Cid], delta: &Delta<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    push_links(&mut out, links);
    push_bytes(&mut out, DATA_FIELD, &delta::encode(delta));
    out
}

/// The block of a signed node, and its CID: links in the order given, then the delta, which ends with the signature.
///
/// # Errors
/// The signer refuses.
pub fn encode_signed(
    links: &[Cid],
    delta: &Delta<'_>,
    signer: &dyn Signer,
    topic: &str,
    hash: HashKind,
) -> Result<(Cid, Vec<u8>), WireError> {
    let mut draft = Draft::new(links, delta::encoded_len_about(delta));
    delta::push(draft.delta(), delta);
    draft.seal(links, signer, topic, hash)
}

/// Bytes of the length of most deltas that are written: from 16 KiB to 2 MiB.
const USUAL_LEN_BYTES: usize = 3;

/// A node whose delta is written straight into its block, behind room for what comes before it.
pub(crate) struct Draft {
    block: Vec<u8>,
    room: usize,
}

impl Draft {
    /// `delta_bytes`: about how many there will be.
    pub(crate) fn new(links: &[Cid], delta_bytes: usize) -> Self {
        let room = links_len(links) + varint::len(DATA_FIELD << 3) + USUAL_LEN_BYTES;
        let mut block = Vec::with_capacity(room + delta_bytes + signature::FIELD_BYTES);
        block.resize(room, 0);
        Draft { block, room }
    }

    /// Where the delta is written.
    pub(crate) fn delta(&mut self) -> &mut Vec<u8> {
        &mut self.block
    }

    /// Put the links in front, and the signature behind.
    pub(crate) fn seal(
        mut self,
        links: &[Cid],
        signer: &dyn Signer,
        topic: &str,
        hash: HashKind,
    ) -> Result<(Cid, Vec<u8>), WireError> {
        let delta_len = self.block.len() - self.room + signature::FIELD_BYTES;
        let mut head = Vec::with_capacity(self.room);
        push_links(&mut head, links);
        varint::push(&mut head, (DATA_FIELD << 3) | 2);
        // The lengths in front count the signature in.
        varint::push(&mut head, delta_len as u64);
        // Moves what was written where the room was not guessed right: of small nodes only.
        self.block.splice(..self.room, head);
        let cid = signature::seal(&mut self.block, topic, signer, hash)?;
        Ok((cid, self.block))
    }
}

/// Whether a block is, byte for byte, what this version writes: links first, sorted and unique, defaults omitted, clean
/// keys, no ids, nothing unknown.
#[must_use]
pub fn is_exact_form(block: &[u8], node: &Node<'_>) -> bool {
    let sorted = node.links.is_sorted_by(|a, b| a < b);
    let clean = node
        .delta
        .elements
        .iter()
        .all(|e| e.id.is_empty() && key::clean(e.key) == e.key);
    let known = node
        .delta
        .native
        .as_ref()
        .is_some_and(|native| !native.is_from_newer_version());
    if !(sorted && clean && known && node.signature_in_place) {
        return false;
    }
    let delta = delta::encode(&node.delta);
    let mut before = Vec::new();
    push_links(&mut before, &node.links);
    varint::push(&mut before, (DATA_FIELD << 3) | 2);
    varint::push(&mut before, (delta.len() + signature::FIELD_BYTES) as u64);
    let rest = block.strip_prefix(before.as_slice());
    let signature = rest.and_then(|rest| rest.strip_prefix(delta.as_slice()));
    signature.is_some_and(|signature| signature.len() == signature::FIELD_BYTES)
}
