//! libp2p peer ids: the multihash of a public key, which a short key lies in as it is.

use std::fmt;
use std::sync::Arc;

use ed25519_dalek::VerifyingKey;

use crate::error::{Fault, WireError};
use crate::multibase::{base58, parse_base58};
use crate::varint::Reader;

/// Identity multihash of a protobuf `PublicKey{Type = Ed25519, Data = 32 bytes}`: all but the 32 bytes.
const ED25519_START: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
/// The longest public key that libp2p puts into a peer id as it is.
const INLINE_KEY_BYTES_MAX: u64 = 42;
const PLACE: &str = "peer id";

/// A peer id in its binary form. Cheap to clone; ordered, equal and hashed as its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(Arc<[u8]>);

impl PeerId {
    /// A peer id: an identity multihash of at most 42 bytes, or a sha2-256 one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes, PLACE);
        let code = reader.minimal_varint()?;
        let length = reader.minimal_varint()?;
        let fits = match code {
            0x00 => length <= INLINE_KEY_BYTES_MAX,
            0x12 => length == 32,
            _ => return Err(WireError::new(PLACE, 0, Fault::UnsupportedHash(code))),
        };
        if !fits {
            let bytes = usize::try_from(length).unwrap_or(usize::MAX);
            return Err(WireError::new(
                PLACE,
                0,
                Fault::DigestLength { code, bytes },
            ));
        }
        reader.take(length)?;
        if !reader.is_empty() {
            return Err(reader.error(Fault::Trailing(reader.rest().len())));
        }
        Ok(Self(bytes.into()))
    }

    /// A peer id from base58btc text.
    pub fn parse(text: &str) -> Result<Self, WireError> {
        Self::from_bytes(&parse_base58(text)?)
    }

    /// The peer id of an Ed25519 key.
    #[must_use]
    pub fn from_key(key: &VerifyingKey) -> Self {
        let bytes = ED25519_START.iter().chain(key.as_bytes());
        Self(bytes.copied().collect())
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The Ed25519 key that it carries: none when it is of another kind or no point of the curve.
    #[must_use]
    pub fn verifying_key(&self) -> Option<VerifyingKey> {
        let key = self.0.strip_prefix(ED25519_START.as_slice())?;
        VerifyingKey::from_bytes(key.try_into().ok()?).ok()
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base58(&self.0))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}
