//! What is wrong with bytes that somebody else wrote, and where.

use thiserror::Error;

use crate::hash;

/// Bytes that do not decode or do not match.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place}, byte {offset}: {fault}")]
pub struct WireError {
    /// Which part of which message, in the words of the specification.
    pub place: &'static str,
    /// Where in the bytes given, counted from 0.
    pub offset: usize,
    /// What is wrong.
    pub fault: Fault,
}

/// What can be wrong with bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    #[error("ends too early")]
    Truncated,
    #[error("varint is longer than 64 bits")]
    VarintTooLong,
    #[error("varint is not in its shortest form")]
    VarintNotMinimal,
    #[error("field number {0} is out of range")]
    FieldNumber(u64),
    #[error("wire type {wire_type} of field {field} is not known")]
    WireType { field: u32, wire_type: u8 },
    #[error("field {0} does not belong here")]
    UnexpectedField(u32),
    #[error("field {0} is here twice or out of order")]
    FieldOrder(u32),
    #[error("field {0} is missing")]
    MissingField(u32),
    #[error("group {0} does not nest properly")]
    Group(u32),
    #[error("text is not valid UTF-8")]
    Utf8,
    #[error("{bytes} bytes, the limit is {max}")]
    TooLarge { bytes: usize, max: usize },
    #[error("{0} bytes too many")]
    Trailing(usize),
    #[error("CID version {0} is not known")]
    CidVersion(u64),
    #[error("codec {0:#x} is not dag-pb (0x70)")]
    Codec(u64),
    #[error("hash {} is not supported", hash::describe(*.0))]
    UnsupportedHash(u64),
    #[error("digest of {} has {bytes} bytes", hash::describe(*.code))]
    DigestLength { code: u64, bytes: usize },
    #[error("the block's hash differs from the CID's")]
    HashMismatch,
    #[error("{0}")]
    Invalid(&'static str),
}

impl WireError {
    /// An error at `offset` of the bytes given.
    #[must_use]
    pub fn new(place: &'static str, offset: usize, fault: Fault) -> Self {
        Self {
            place,
            offset,
            fault,
        }
    }

    /// The same error, of bytes that lie `base` further on in their container.
    #[must_use]
    pub fn shifted(mut self, base: usize) -> Self {
        self.offset = self.offset.saturating_add(base);
        self
    }
}
