//! Peer ids: the multihash of a public key. That of an Ed25519 key holds the key itself.

use crate::base;
use crate::error::WireError;
use ed25519_dalek::VerifyingKey;
use std::fmt;
use std::sync::Arc;

/// Identity multihash (0x00) of 36 bytes: a protobuf public key of type Ed25519 (1) and 32 bytes.
const ED25519_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
/// Bytes of the longest multihash of a peer id that libp2p makes (identity of 42 bytes and its header), with room.
const PEER_ID_BYTES_MAX: usize = 64;

/// A remote or own libp2p identity.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(Arc<[u8]>);

impl PeerId {
    /// Read the multihash bytes.
    ///
    /// # Errors
    /// They are no sha2-256 or identity multihash.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let right = match bytes {
            [0x12, 0x20, rest @ ..] => rest.len() == 32,
            [0x00, len, rest @ ..] => {
                rest.len() == usize::from(*len) && bytes.len() <= PEER_ID_BYTES_MAX
            }
            _ => false,
        };
        right
            .then(|| PeerId(bytes.into()))
            .ok_or(WireError::malformed(
                "peer id",
                "it is no sha2-256 or identity multihash",
            ))
    }

    /// Read base58 text.
    ///
    /// # Errors
    /// It is no peer id.
    pub fn parse(text: &str) -> Result<Self, WireError> {
        let bytes = base::from_base58(text)
            .ok_or(WireError::malformed("peer id", "the text is not base58"))?;
        PeerId::from_bytes(&bytes)
    }

    #[must_use]
    pub fn of_key(key: &VerifyingKey) -> Self {
        PeerId([ED25519_PREFIX.as_slice(), key.as_bytes()].concat().into())
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The public key, where it is an Ed25519 key that the id holds.
    #[must_use]
    pub fn verifying_key(&self) -> Option<VerifyingKey> {
        let key: &[u8; 32] = self.0.strip_prefix(&ED25519_PREFIX)?.try_into().ok()?;
        VerifyingKey::from_bytes(key).ok()
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base::to_base58(&self.0))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}
