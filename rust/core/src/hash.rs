//! The hashes that a CID may name.

use sha2::Digest;

use crate::error::{Fault, WireError};
use crate::limits::IDENTITY_DIGEST_BYTES_MAX;

/// A hash that blocks are named by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HashKind {
    Sha2_256,
    Blake3,
    Sha2_512,
    Blake2b256,
    Sha3_256,
    /// No hash: the digest is the block itself.
    Identity,
}

impl HashKind {
    /// Every hash that is read and written.
    pub const ALL: [HashKind; 6] = [
        HashKind::Sha2_256,
        HashKind::Blake3,
        HashKind::Sha2_512,
        HashKind::Blake2b256,
        HashKind::Sha3_256,
        HashKind::Identity,
    ];

    /// Its multicodec number.
    #[must_use]
    pub fn code(self) -> u64 {
        match self {
            HashKind::Identity => 0x00,
            HashKind::Sha2_256 => 0x12,
            HashKind::Sha2_512 => 0x13,
            HashKind::Sha3_256 => 0x16,
            HashKind::Blake3 => 0x1e,
            HashKind::Blake2b256 => 0xb220,
        }
    }

    /// Its multicodec name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            HashKind::Identity => "identity",
            HashKind::Sha2_256 => "sha2-256",
            HashKind::Sha2_512 => "sha2-512",
            HashKind::Sha3_256 => "sha3-256",
            HashKind::Blake3 => "blake3",
            HashKind::Blake2b256 => "blake2b-256",
        }
    }

    /// The hash with this multicodec number; others are refused by name.
    pub fn from_code(code: u64) -> Result<Self, WireError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.code() == code)
            .ok_or_else(|| WireError::new("multihash", 0, Fault::UnsupportedHash(code)))
    }

    /// The hash with this multicodec name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether a digest may have this length: whole digests only.
    #[must_use]
    pub fn takes_digest_len(self, bytes: usize) -> bool {
        match self {
            HashKind::Sha2_256 | HashKind::Blake3 | HashKind::Blake2b256 | HashKind::Sha3_256 => {
                bytes == 32
            }
            HashKind::Sha2_512 => bytes == 64,
            HashKind::Identity => bytes <= IDENTITY_DIGEST_BYTES_MAX,
        }
    }

    /// The digest of `block`.
    #[must_use]
    pub fn digest(self, block: &[u8]) -> Vec<u8> {
        match self {
            HashKind::Sha2_256 => sha2::Sha256::digest(block).to_vec(),
            HashKind::Blake3 => blake3::hash(block).as_bytes().to_vec(),
            HashKind::Sha2_512 => sha2::Sha512::digest(block).to_vec(),
            HashKind::Blake2b256 => blake2::Blake2b256::digest(block).to_vec(),
            HashKind::Sha3_256 => sha3::Sha3_256::digest(block).to_vec(),
            HashKind::Identity => block.to_vec(),
        }
    }
}

/// A hash's number, with its name where it has a known one.
#[must_use]
pub fn describe(code: u64) -> String {
    let name = match code {
        0x11 => "sha1",
        0x14 => "sha3-512",
        0x15 => "sha3-384",
        0x17 => "sha3-224",
        0x18 => "shake-128",
        0x19 => "shake-256",
        0x1a => "keccak-224",
        0x1b => "keccak-256",
        0x1c => "keccak-384",
        0x1d => "keccak-512",
        0x20 => "sha2-384",
        0x22 => "murmur3-x64-64",
        0x56 => "dbl-sha2-256",
        0xd4 => "md4",
        0xd5 => "md5",
        0x1012 => "sha2-256-trunc254-padded",
        0x1013 => "sha2-224",
        0x1014 => "sha2-512-224",
        0x1015 => "sha2-512-256",
        0xb240 => "blake2b-512",
        0xb260 => "blake2s-256",
        _ => match HashKind::ALL.into_iter().find(|kind| kind.code() == code) {
            Some(kind) => kind.name(),
            None => return format!("{code:#x}"),
        },
    };
    format!("{name} ({code:#x})")
}
