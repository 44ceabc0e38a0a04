//! Private keys: who signs.

use crate::error::WireError;
use crate::peer_id::PeerId;
use crate::proto::{self, push_bytes};
use crate::varint;
use ed25519_dalek::{Signer as _, SigningKey};

const WHAT: &str = "identity key";
/// Key type Ed25519 of libp2p's key protobufs.
const ED25519: u64 = 1;

/// A signer did not sign.
#[derive(thiserror::Error, Clone, Debug)]
#[error("{0}")]
pub struct SignError(String);

impl SignError {
    #[must_use]
    pub fn new(reason: String) -> Self {
        SignError(reason)
    }
}

/// Somebody who signs as a peer.
pub trait Signer {
    fn peer_id(&self) -> &PeerId;

    /// An Ed25519 signature by the peer's key.
    ///
    /// # Errors
    /// The key is not at hand.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError>;
}

/// An Ed25519 private key.
pub struct Identity {
    key: SigningKey,
    peer_id: PeerId,
}

impl Identity {
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let key = SigningKey::from_bytes(&seed);
        let peer_id = PeerId::of_key(&key.verifying_key());
        Identity { key, peer_id }
    }

    /// Read a private key as libp2p marshals it.
    ///
    /// # Errors
    /// It is of another kind, or damaged.
    pub fn from_libp2p(bytes: &[u8]) -> Result<Self, WireError> {
        let malformed = |problem| WireError::malformed(WHAT, problem);
        let (mut kind, mut data) = (0, None);
        for field in proto::fields(bytes, WHAT) {
            let field = field?;
            match field.number {
                1 => kind = proto::number(field.value, WHAT)?,
                2 => data = Some(proto::bytes(field.value, WHAT)?),
                _ => return Err(malformed("it has an unknown field")),
            }
        }
        if kind != ED25519 {
            return Err(malformed("it is not of the kind Ed25519"));
        }
        // seed ‖ public key; old versions wrote the public key twice
        let data = data.ok_or(malformed("it has no key"))?;
        let (seed, public) = data
            .split_at_checked(32)
            .ok_or(malformed("an Ed25519 key has 64 or 96 bytes"))?;
        let seed: [u8; 32] = seed
            .try_into()
            .map_err(|_| malformed("an Ed25519 key has 64 or 96 bytes"))?;
        let identity = Identity::from_seed(seed);
        let own = identity.key.verifying_key();
        if !matches!(public.len(), 32 | 64) || public.chunks(32).any(|p| p != own.as_bytes()) {
            return Err(malformed(
                "its public part does not belong to its private part",
            ));
        }
        Ok(identity)
    }

    /// The private key as libp2p marshals it.
    #[must_use]
    pub fn to_libp2p(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(68);
        varint::push(&mut out, 1 << 3);
        varint::push(&mut out, ED25519);
        push_bytes(&mut out, 2, &self.key.to_keypair_bytes());
        out
    }

    /// An Ed25519 signature.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }

    #[must_use]
    pub fn peer_id(&self) -> &PeerId {
        &self.peer_id
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_marshalling_and_damage_is_seen() {
        let identity = Identity::from_seed([7; 32]);
        let bytes = identity.to_libp2p();
        assert_eq!(
            Identity::from_libp2p(&bytes).unwrap().peer_id(),
            identity.peer_id()
        );
        assert!(identity.peer_id().to_string().starts_with("12D3KooW"));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(Identity::from_libp2p(&damaged).is_err(), "byte {at}");
            assert!(Identity::from_libp2p(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
}
