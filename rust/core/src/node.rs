//! A DAG node: a delta and the links to the heads that it replaces.

use thiserror::Error;

use crate::cid::Cid;
use crate::dag_pb;
use crate::delta::{self, Delta, SignatureField};
use crate::error::{Fault, WireError};
use crate::identity::{SignError, Signer};
use crate::key::is_clean;
use crate::limits::{BLOCK_BYTES_MAX, TOPIC_BYTES_MAX};
use crate::signature::{SIGNATURE_BYTES, SIGNATURE_START, message};
use crate::varint::{bytes_field_len, put_length_field};

/// A decoded node; its texts and values are slices of the block.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    /// In the block's order.
    pub links: Vec<Cid>,
    pub delta: Delta<'a>,
    pub(crate) signature: SignatureField,
}

/// Why a node could not be signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EncodeError {
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("the topic has {bytes} bytes, the limit is {TOPIC_BYTES_MAX}")]
    TopicTooLong { bytes: usize },
    #[error("the node's author is not the replica that signs")]
    NotTheAuthor,
}

impl Node<'_> {
    /// Whether a newer version wrote this: kept, served and walked, but not merged.
    #[must_use]
    pub fn is_from_newer_version(&self) -> bool {
        self.delta
            .native
            .as_ref()
            .is_some_and(|native| native.unknown)
    }
}

/// Decodes a block of at most 4 MiB. Cost: one pass; no element is copied.
pub fn decode(block: &[u8]) -> Result<Node<'_>, WireError> {
    if block.len() > BLOCK_BYTES_MAX {
        let fault = Fault::TooLarge {
            bytes: block.len(),
            max: BLOCK_BYTES_MAX,
        };
        return Err(WireError::new("block", 0, fault));
    }
    let frame = dag_pb::decode(block)?;
    let (delta, signature) = delta::decode(frame.data, frame.data_at)?;
    Ok(Node {
        links: frame.links,
        delta,
        signature,
    })
}

/// As `decode`, of a block that must be the DAG node that `cid` names. Cost: one hash of the block more.
pub fn decode_checked<'a>(cid: &Cid, block: &'a [u8]) -> Result<Node<'a>, WireError> {
    cid.check_node()?;
    if block.len() <= BLOCK_BYTES_MAX {
        cid.check(block)?;
    }
    decode(block)
}

/// The block of a node with these links in this order; unsigned.
#[must_use]
pub fn encode(links: &[Cid], delta: &Delta<'_>) -> Vec<u8> {
    encode_with_room(links, delta, 0)
}

/// The block of a node signed for `topic`; `delta.native.author` must be the signer. The caller sorts the links.
/// Cost: two hashes of the block and about 20 µs.
pub fn encode_signed(
    links: &[Cid],
    delta: &Delta<'_>,
    signer: &dyn Signer,
    topic: &str,
) -> Result<Vec<u8>, EncodeError> {
    let author = delta.native.as_ref().map(|native| native.author);
    if author != Some(signer.peer_id().as_bytes()) {
        return Err(EncodeError::NotTheAuthor);
    }
    let mut block = encode_with_room(links, delta, SIGNATURE_START.len() + SIGNATURE_BYTES);
    let message = message(topic, &block).ok_or(EncodeError::TopicTooLong { bytes: topic.len() })?;
    let signature = signer.sign(&message)?;
    block.extend_from_slice(&SIGNATURE_START);
    block.extend_from_slice(&signature);
    Ok(block)
}

/// The block up to where `room` more bytes of its Delta belong: the lengths in front count them in.
fn encode_with_room(links: &[Cid], delta: &Delta<'_>, room: usize) -> Vec<u8> {
    let data_len = delta::encoded_len(delta) + room;
    let mut block = Vec::with_capacity(dag_pb::links_len(links) + bytes_field_len(1, data_len));
    dag_pb::put_links(&mut block, links);
    put_length_field(&mut block, 1, data_len);
    delta::put(&mut block, delta);
    block
}

/// Whether `block`, of which `node` was decoded, is byte for byte what we would write: links first, sorted, each once;
/// elements with clean keys and without id; no tombstones; nothing unknown; a signature last or none.
/// Cost: one encoding.
#[must_use]
pub fn is_exact_form(block: &[u8], node: &Node<'_>) -> bool {
    let delta = &node.delta;
    let unsigned_len = match node.signature {
        SignatureField::Absent => Some(block.len()),
        SignatureField::At(at) => signature_begins_at(block, at).then_some(at),
        SignatureField::Repeated => None,
    };
    let Some((unsigned, signature)) = unsigned_len.and_then(|at| block.split_at_checked(at)) else {
        return false;
    };
    node.links.is_sorted_by(|a, b| a < b)
        && delta.tombstones.is_empty()
        && delta
            .elements
            .iter()
            .all(|element| element.id.is_empty() && is_clean(element.key))
        && delta.native.as_ref().is_none_or(|native| !native.unknown)
        && unsigned == encode_with_room(&node.links, delta, signature.len())
}

/// Whether the field 101 whose tag is at `at` is a signature and the block's last 67 bytes.
pub(crate) fn signature_begins_at(block: &[u8], at: usize) -> bool {
    block.get(at..).is_some_and(|end| {
        end.len() == SIGNATURE_START.len() + SIGNATURE_BYTES && end.starts_with(&SIGNATURE_START)
    })
}
