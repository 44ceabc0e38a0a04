//! Who wrote a node: the last bytes of its block say so, over all the others.
//!
//! Signed is `"crdtstats/node/2"` ‖ u16 length of the topic ‖ topic ‖ BLAKE3 of all bytes of the block before the
//! signature, raw as they lie. That binds as much as those bytes themselves would: nothing but the topic is of free
//! length, and its length comes first, so one message is read in one way only; the domain belongs to this form alone;
//! and two blocks of one hash would be a collision of 256 bits, which costs the 2¹²⁸ that a forged signature costs too.
//! What it saves: Ed25519 hashes its message twice to sign it and once to verify it, by SHA-512, which took most of a
//! flush.

use crate::cid::Cid;
use crate::error::WireError;
use crate::hash::HashKind;
use crate::hashed::{Hashed, Pass};
use crate::identity::Signer;
use crate::node::Node;
use crate::peer_id::PeerId;
use ed25519_dalek::Signature as Ed25519;

/// Field 101 of 64 bytes: tag, length, signature.
pub const FIELD_BYTES: usize = 67;
const FIELD_HEADER: [u8; 3] = [0xaa, 0x06, 0x40];
const DOMAIN: &[u8] = b"crdtstats/node/2";

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

/// What is signed: domain, topic, and the hash of the block before the signature.
fn message(topic: &str, unsigned: &[u8; 32]) -> Result<Vec<u8>, WireError> {
    let len = u16::try_from(topic.len()).map_err(|_| WireError::limit("topic's length"))?;
    Ok([DOMAIN, &len.to_be_bytes(), topic.as_bytes(), unsigned].concat())
}

/// Sign a block that is complete but for its signature, append that, and give the CID of the whole.
pub(crate) fn seal(
    block: &mut Vec<u8>,
    topic: &str,
    signer: &dyn Signer,
    hash: HashKind,
) -> Result<Cid, WireError> {
    let pass = Pass::over(block);
    let message = message(topic, &pass.digest())?;
    let signature = signer.sign(&message).map_err(|error| WireError::Sign {
        reason: error.to_string(),
    })?;
    let unsigned = block.len();
    block.extend_from_slice(&FIELD_HEADER);
    block.extend_from_slice(&signature);
    let rest = block.get(unsigned..).unwrap_or_default();
    Ok(Cid::of_digest(hash, &pass.finish(hash, block, rest)))
}

/// Judge the signature of a decoded block. Strict: S < L, no points of small order; all replicas decide alike.
#[must_use]
pub fn verify(block: &Hashed<'_>, node: &Node<'_>, topic: &str) -> Signature {
    if !node.signature_in_place {
        return Signature::Unsigned;
    }
    let Some((unsigned, field)) = block.unsigned() else {
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
    let Ok(message) = message(topic, &unsigned) else {
        return Signature::Invalid;
    };
    match key.verify_strict(&message, &Ed25519::from_bytes(signature)) {
        Ok(()) => Signature::Valid(author),
        Err(_) => Signature::Invalid,
    }
}
