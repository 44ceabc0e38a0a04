//! Who wrote a node: the signature that its last 67 bytes may be.

use ed25519_dalek::Signature as Ed25519Signature;

use crate::delta::SignatureField;
use crate::limits::TOPIC_BYTES_MAX;
use crate::node::{Node, signature_begins_at};
use crate::peer_id::PeerId;

/// What a signed message begins with: no signature for anything else is one for a node.
const CONTEXT: &[u8] = b"crdtstats/node/1";
/// Tag and length of Delta's field 101.
pub(crate) const SIGNATURE_START: [u8; 3] = [0xaa, 0x06, 0x40];
pub(crate) const SIGNATURE_BYTES: usize = 64;

/// What a node's signature proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// This replica wrote these bytes for this topic.
    Valid(PeerId),
    /// Nobody claims to have signed: no field 101 at the end (or another one elsewhere), or no `Native`.
    Unsigned,
    /// Somebody claims, wrongly: another key, topic or block, or an author that is no Ed25519 peer id.
    Invalid,
}

/// Judges the signature of `node`, decoded of `block`, for `topic`. Strict: S < L, no small-order points.
/// Cost: one SHA-512 and one copy of the block, and about 40 µs.
#[must_use]
pub fn verify(block: &[u8], node: &Node<'_>, topic: &str) -> Signature {
    let (SignatureField::At(at), Some(native)) = (node.signature, &node.delta.native) else {
        return Signature::Unsigned;
    };
    if !signature_begins_at(block, at) {
        return Signature::Unsigned;
    }
    check(block, native.author, topic).map_or(Signature::Invalid, Signature::Valid)
}

fn check(block: &[u8], author: &[u8], topic: &str) -> Option<PeerId> {
    let author = PeerId::from_bytes(author).ok()?;
    let key = author.verifying_key()?;
    let (rest, signature) = block.split_last_chunk::<SIGNATURE_BYTES>()?;
    let (signed, _) = rest.split_last_chunk::<{ SIGNATURE_START.len() }>()?;
    let message = message(topic, signed)?;
    key.verify_strict(&message, &Ed25519Signature::from_bytes(signature))
        .ok()?;
    Some(author)
}

/// What is signed; none if the topic's length does not fit into two bytes.
pub(crate) fn message(topic: &str, signed: &[u8]) -> Option<Vec<u8>> {
    const { assert!(TOPIC_BYTES_MAX == u16::MAX as usize) };
    let topic_len = u16::try_from(topic.len()).ok()?;
    Some([CONTEXT, &topic_len.to_be_bytes(), topic.as_bytes(), signed].concat())
}
