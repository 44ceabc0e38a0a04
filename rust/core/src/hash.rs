//! The hash functions that CIDs may name.

use crate::limits::IDENTITY_BYTES_MAX;
use sha2::Digest;

/// A hash function of the multihash table that we read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum HashKind {
    Identity,
    Sha2_256,
    Sha2_512,
    Sha3_256,
    Blake3,
    Blake2b256,
}

const TABLE: [(HashKind, u64, &str); 6] = [
    (HashKind::Identity, 0x00, "identity"),
    (HashKind::Sha2_256, 0x12, "sha2-256"),
    (HashKind::Sha2_512, 0x13, "sha2-512"),
    (HashKind::Sha3_256, 0x16, "sha3-256"),
    (HashKind::Blake3, 0x1e, "blake3"),
    (HashKind::Blake2b256, 0xb220, "blake2b-256"),
];

impl HashKind {
    /// The function with this multicodec number.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        TABLE
            .iter()
            .find(|(_, c, _)| *c == code)
            .map(|(kind, ..)| *kind)
    }

    /// The function with this multicodec name, for writing: identity is not one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE
            .iter()
            .find(|(kind, _, n)| *n == name && *kind != HashKind::Identity)
            .map(|(kind, ..)| *kind)
    }

    #[must_use]
    pub fn code(self) -> u64 {
        TABLE
            .iter()
            .find(|(kind, ..)| *kind == self)
            .map_or(0, |(_, code, _)| *code)
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        TABLE
            .iter()
            .find(|(kind, ..)| *kind == self)
            .map_or("", |(.., name)| name)
    }

    /// Whether a digest may have `len` bytes: the whole of it, for a part of one is weaker than its name.
    #[must_use]
    pub fn takes_digest(self, len: usize) -> bool {
        match self {
            HashKind::Identity => len <= IDENTITY_BYTES_MAX,
            HashKind::Sha2_512 => len == 64,
            HashKind::Sha2_256 | HashKind::Sha3_256 | HashKind::Blake3 | HashKind::Blake2b256 => {
                len == 32
            }
        }
    }

    /// The digest of `data`, in the full length of the function.
    #[must_use]
    pub fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            HashKind::Identity => data.to_vec(),
            HashKind::Sha2_256 => sha2::Sha256::digest(data).to_vec(),
            HashKind::Sha2_512 => sha2::Sha512::digest(data).to_vec(),
            HashKind::Sha3_256 => sha3::Sha3_256::digest(data).to_vec(),
            HashKind::Blake3 => blake3::hash(data).as_bytes().to_vec(),
            HashKind::Blake2b256 => blake2::Blake2b256::digest(data).to_vec(),
        }
    }
}
