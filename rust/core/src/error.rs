//! What can be wrong with bytes.

/// Bytes that do not say what they should: what is wrong, and where.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum WireError {
    #[error("{what}: truncated at byte {at}")]
    Truncated { what: &'static str, at: usize },
    #[error("{what}: {problem}")]
    Malformed {
        what: &'static str,
        problem: &'static str,
    },
    #[error("{what}: {len} bytes, at most {max} are taken")]
    TooLarge {
        what: &'static str,
        len: usize,
        max: usize,
    },
    #[error(
        "hash function 0x{code:x} is not taken (taken: sha2-256, blake3, sha2-512, blake2b-256, sha3-256, identity)"
    )]
    UnknownHash { code: u64 },
    #[error("the block does not match its CID {cid}")]
    WrongHash { cid: String },
    #[error("the {what} has reached its end")]
    Limit { what: &'static str },
    #[error("not signed: {reason}")]
    Sign { reason: String },
}

impl WireError {
    pub(crate) fn malformed(what: &'static str, problem: &'static str) -> Self {
        WireError::Malformed { what, problem }
    }

    #[must_use]
    pub fn limit(what: &'static str) -> Self {
        WireError::Limit { what }
    }
}
