//! Who wrote a node: the last bytes of its block say so, over all the others.

use crate::error::WireError;
use crate::node::Node;
use crate::peer_id::PeerId;
use ed25519_dalek::Signature as Ed25519;

/// Field 101 of 64 bytes: tag, length, signature.
pub const FIELD_BYTES: usize = 67;
const FIELD_HEADER: [u8; 3] = [0xaa, 0x06, 0x40];
const DOMAIN: &[u8] = b"crdtstats/node/1";

/// What a block's signature says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Signature {
    /// By the author that the node names.
    Valid(PeerId),
    /// There is none, or not where it has to be.
    Unsigned,
    /// There is one, and it does not hold.
    Invalid,
}

/// What is signed: domain, topic, and the block before the signature, raw as it lies.
pub(crate) fn message(topic: &str, unsigned: &[u8]) -> Result<Vec<u8>, WireError> {
    let len = u16::try_from(topic.len()).map_err(|_| WireError::limit("topic's length"))?;
    Ok([DOMAIN, &len.to_be_bytes(), topic.as_bytes(), unsigned].concat())
}

pub(crate) fn push_field(out: &mut Vec<u8>, signature: &[u8; 64]) {
    out.extend_from_slice(&FIELD_HEADER);
    out.extend_from_slice(signature);
}

/// Judge the signature of a decoded block. Strict: S < L, no points of small order; all replicas decide alike.
#[must_use]
pub fn verify(block: &[u8], node: &Node<'_>, topic: &str) -> Signature {
    if !node.signature_in_place {
        return Signature::Unsigned;
    }
    let Some((unsigned, field)) = block.split_at_checked(block.len().wrapping_sub(FIELD_BYTES))
    else {
        return Signature::Unsigned;
    };
    let Some(signature) = field
        .strip_prefix(&FIELD_HEADER)
        .and_then(|s| <&[u8; 64]>::try_from(s).ok())
    else {
        return Signature::Unsigned;
    };
    let author = node
        .delta
        .native
        .as_ref()
        .and_then(|native| PeerId::from_bytes(native.author).ok());
    let Some((author, key)) =
        author.and_then(|author| Some((author.clone(), author.verifying_key()?)))
    else {
        return Signature::Invalid;
    };
    let Ok(message) = message(topic, unsigned) else {
        return Signature::Invalid;
    };
    match key.verify_strict(&message, &Ed25519::from_bytes(signature)) {
        Ok(()) => Signature::Valid(author),
        Err(_) => Signature::Invalid,
    }
}
