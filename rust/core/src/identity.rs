//! An Ed25519 private key as libp2p marshals it, and who can sign a node.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey};
use thiserror::Error;

use crate::error::{Fault, WireError};
use crate::peer_id::PeerId;
use crate::varint::{Reader, Value, put_bytes_field, put_varint_field};

/// `KeyType.Ed25519` of libp2p's key protobuf.
const KEY_TYPE_ED25519: u64 = 1;
const PLACE: &str = "private key";

/// Whoever can sign for a replica: a key at hand, or a host that keeps it.
pub trait Signer {
    /// The replica that signs.
    fn peer_id(&self) -> &PeerId;
    /// The Ed25519 signature of `message`.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError>;
}

/// The signer refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("signing failed: {0}")]
pub struct SignError(pub String);

/// A replica's Ed25519 key. Its text form shows the peer id only.
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
    peer_id: PeerId,
}

impl Identity {
    /// The key whose 32 secret bytes are `seed`.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let key = SigningKey::from_bytes(&seed);
        let peer_id = PeerId::from_key(&key.verifying_key());
        Self { key, peer_id }
    }

    /// A key as libp2p marshals it: protobuf `Type = 1`, `Data = 2`, with 64 bytes of data (seed, public key)
    /// or 96 (the public key twice). Other kinds of keys are refused.
    pub fn from_libp2p(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes, PLACE);
        let (mut kind, mut data) = (None, None);
        while let Some(field) = reader.field()? {
            match (field.number, field.value) {
                (1, Value::Varint(value)) => kind = Some(value),
                (2, Value::Bytes(value, _)) => data = Some(value),
                (number, _) => {
                    return Err(WireError::new(
                        PLACE,
                        field.at,
                        Fault::UnexpectedField(number),
                    ));
                }
            }
        }
        let invalid = |what| WireError::new(PLACE, 0, Fault::Invalid(what));
        match kind {
            Some(KEY_TYPE_ED25519) => {}
            Some(0) => return Err(invalid("is an RSA key, only Ed25519 is supported")),
            Some(2) => return Err(invalid("is a secp256k1 key, only Ed25519 is supported")),
            Some(3) => return Err(invalid("is an ECDSA key, only Ed25519 is supported")),
            _ => {
                return Err(invalid(
                    "names no key type that is known, only Ed25519 is supported",
                ));
            }
        }
        let data = data.ok_or_else(|| WireError::new(PLACE, 0, Fault::MissingField(2)))?;
        if data.len() != 64 && data.len() != 96 {
            return Err(invalid("does not hold 64 or 96 bytes of Ed25519 key"));
        }
        let (seed, public) = data
            .split_first_chunk::<32>()
            .ok_or_else(|| invalid("is too short"))?;
        let identity = Self::from_seed(*seed);
        let expected = identity.key.verifying_key();
        if public
            .chunks(32)
            .any(|public| public != expected.as_bytes())
        {
            return Err(invalid(
                "holds a public key that does not belong to the secret one",
            ));
        }
        Ok(identity)
    }

    /// The key as libp2p marshals it (64 bytes of data).
    #[must_use]
    pub fn to_libp2p(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(68);
        put_varint_field(&mut bytes, 1, KEY_TYPE_ED25519);
        put_bytes_field(&mut bytes, 2, &self.key.to_keypair_bytes());
        bytes
    }

    #[must_use]
    pub fn peer_id(&self) -> &PeerId {
        &self.peer_id
    }

    /// The Ed25519 signature of `message`; the same each time.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl Signer for Identity {
    fn peer_id(&self) -> &PeerId {
        &self.peer_id
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        Ok(Identity::sign(self, message))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.peer_id)
    }
}
