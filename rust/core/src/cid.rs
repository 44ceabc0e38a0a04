//! Content identifiers, as binary and as text.

use crate::base;
use crate::error::WireError;
pub use crate::hash::HashKind;
use crate::hashed::Hashed;
use crate::limits::CID_BYTES_MAX;
use crate::varint;
use std::fmt;
use std::sync::Arc;

/// The multicodec of a DAG node.
pub const DAG_PB: u64 = 0x70;

/// A CID of version 0 or 1. Cheap to clone; ordered by its bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cid(Arc<[u8]>);

struct Parts<'a> {
    version: u64,
    codec: u64,
    multihash: &'a [u8],
    hash: u64,
    digest: &'a [u8],
}

const WHAT: &str = "CID";

/// The CID at the front of `bytes`, and what follows it.
fn split(bytes: &[u8]) -> Result<(Parts<'_>, &[u8]), WireError> {
    let malformed = |problem| WireError::malformed(WHAT, problem);
    if let Some(rest) = bytes.strip_prefix(&[0x12, 0x20]) {
        let (digest, rest) = rest
            .split_at_checked(32)
            .ok_or(malformed("version 0 has 34 bytes"))?;
        let multihash = bytes.get(..34).unwrap_or_default();
        return Ok((
            Parts {
                version: 0,
                codec: DAG_PB,
                multihash,
                hash: 0x12,
                digest,
            },
            rest,
        ));
    }
    let number = |rest| {
        varint::split_minimal(rest).ok_or_else(|| malformed("a number is truncated or not minimal"))
    };
    let (version, rest) = number(bytes)?;
    if version != 1 {
        return Err(malformed("the version is 0 or 1"));
    }
    let (codec, from_multihash) = number(rest)?;
    let (hash, rest) = number(from_multihash)?;
    let (len, rest) = number(rest)?;
    let split = usize::try_from(len)
        .ok()
        .and_then(|len| rest.split_at_checked(len));
    let (digest, rest) = split.ok_or(malformed("the digest is shorter than it says"))?;
    let multihash = from_multihash
        .get(..from_multihash.len() - rest.len())
        .unwrap_or_default();
    Ok((
        Parts {
            version,
            codec,
            multihash,
            hash,
            digest,
        },
        rest,
    ))
}

fn parts(bytes: &[u8]) -> Result<Parts<'_>, WireError> {
    split(bytes).map(|(parts, _)| parts)
}

impl Cid {
    /// Read a binary CID; nothing may follow it.
    ///
    /// # Errors
    /// It is truncated, too long, of an unknown version, or has a number that is not minimal.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > CID_BYTES_MAX {
            return Err(WireError::TooLarge {
                what: WHAT,
                len: bytes.len(),
                max: CID_BYTES_MAX,
            });
        }
        match split(bytes)? {
            (_, []) => Ok(Cid(bytes.into())),
            _ => Err(WireError::malformed(WHAT, "bytes follow it")),
        }
    }

    /// Read the Hash of a link as Go does: of any length, and what follows the CID is passed over.
    ///
    /// # Errors
    /// It is truncated, of an unknown version, or has a number that is not minimal.
    pub fn from_link(bytes: &[u8]) -> Result<Self, WireError> {
        let (_, rest) = split(bytes)?;
        Ok(Cid(bytes
            .get(..bytes.len() - rest.len())
            .unwrap_or_default()
            .into()))
    }

    /// Read a CID as text: base32 (`b…`), or base58 for version 0.
    ///
    /// # Errors
    /// It is no such text.
    pub fn parse(text: &str) -> Result<Self, WireError> {
        let bytes = match text.strip_prefix('b') {
            Some(rest) => base::from_base32(rest),
            None if text.starts_with("Qm") => base::from_base58(text),
            None => None,
        };
        Cid::from_bytes(&bytes.ok_or(WireError::malformed(
            WHAT,
            "the text is neither base32 (b...) nor version 0 (Qm...)",
        ))?)
    }

    /// The version 1 CID of a DAG node.
    #[must_use]
    pub fn of(hash: HashKind, block: &[u8]) -> Self {
        Self::of_digest(hash, &hash.digest(block))
    }

    pub(crate) fn of_digest(hash: HashKind, digest: &[u8]) -> Self {
        Self::build(1, DAG_PB, hash.code(), digest)
    }

    /// The CID of a block that came with a bitswap prefix (version, codec, hash function, digest length).
    ///
    /// # Errors
    /// The prefix is malformed, or names a hash function that is not taken.
    pub fn from_prefix(prefix: &[u8], block: &[u8]) -> Result<Self, WireError> {
        let malformed = WireError::malformed("block prefix", "it is not four minimal numbers");
        let mut numbers = [0; 4];
        let mut rest = prefix;
        for number in &mut numbers {
            (*number, rest) = varint::split_minimal(rest).ok_or_else(|| malformed.clone())?;
        }
        let [version, codec, hash, len] = numbers;
        if !rest.is_empty()
            || version > 1
            || (version == 0 && (codec, hash, len) != (DAG_PB, 0x12, 32))
        {
            return Err(malformed);
        }
        let kind = HashKind::from_code(hash).ok_or(WireError::UnknownHash { code: hash })?;
        let digest = kind.digest(block);
        if digest.len() as u64 != len {
            return Err(WireError::malformed(
                "block prefix",
                "the digest's length is not the hash function's",
            ));
        }
        Cid::from_bytes(Self::build(version, codec, hash, &digest).as_bytes())
    }

    /// The version 1 CID of a DAG node with this multihash.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn of_multihash(multihash: &[u8]) -> Result<Self, WireError> {
        let mut out = Vec::with_capacity(multihash.len() + 2);
        varint::push(&mut out, 1);
        varint::push(&mut out, DAG_PB);
        out.extend_from_slice(multihash);
        Self::from_bytes(&out)
    }

    fn build(version: u64, codec: u64, hash: u64, digest: &[u8]) -> Self {
        let mut out = Vec::with_capacity(digest.len() + 8);
        if version == 1 {
            varint::push(&mut out, 1);
            varint::push(&mut out, codec);
        }
        varint::push(&mut out, hash);
        varint::push(&mut out, digest.len() as u64);
        out.extend_from_slice(digest);
        Cid(out.into())
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    #[must_use]
    pub fn version(&self) -> u64 {
        parts(&self.0).map_or(0, |p| p.version)
    }

    /// The same identifier in version 1: nodes are known by it, whatever their links and heads say.
    #[must_use]
    pub fn into_v1(self) -> Self {
        if self.version() == 0 {
            Self::build(1, DAG_PB, self.hash_code(), self.digest())
        } else {
            self
        }
    }

    /// The multicodec of what it identifies.
    #[must_use]
    pub fn codec(&self) -> u64 {
        parts(&self.0).map_or(0, |p| p.codec)
    }

    /// The multicodec of its hash function.
    #[must_use]
    pub fn hash_code(&self) -> u64 {
        parts(&self.0).map_or(0, |p| p.hash)
    }

    #[must_use]
    pub fn digest(&self) -> &[u8] {
        parts(&self.0).map_or(&[], |p| p.digest)
    }

    #[must_use]
    pub fn multihash(&self) -> &[u8] {
        parts(&self.0).map_or(&[], |p| p.multihash)
    }

    /// Its hash function, if it can be checked: one that is taken, with its whole digest (identity: at most 128 bytes).
    ///
    /// # Errors
    /// It names the hash function that is not taken, or the digest is cut.
    pub fn hash_kind(&self) -> Result<HashKind, WireError> {
        let code = self.hash_code();
        let kind = HashKind::from_code(code).ok_or(WireError::UnknownHash { code })?;
        if !kind.takes_digest(self.digest().len()) {
            return Err(WireError::malformed(
                WHAT,
                "the digest's length is not the hash function's",
            ));
        }
        Ok(kind)
    }

    /// Whether this can be a DAG node's: codec dag-pb, and a hash that can be checked. Only such a CID is worth a want.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn check_node(&self) -> Result<(), WireError> {
        if self.codec() != DAG_PB {
            return Err(WireError::malformed(WHAT, "the codec is not dag-pb (0x70)"));
        }
        self.hash_kind().map(drop)
    }

    /// Whether a block is what this identifies.
    ///
    /// # Errors
    /// It is not, or the hash function is not taken.
    pub fn check(&self, block: &[u8]) -> Result<(), WireError> {
        self.check_hashed(&Hashed::new(block))
    }

    /// As [`Cid::check`], of a block whose signature is looked at next: one pass over it may do for both.
    ///
    /// # Errors
    /// As there.
    pub fn check_hashed(&self, block: &Hashed<'_>) -> Result<(), WireError> {
        let kind = self.hash_kind()?;
        if block.digest(kind) == self.digest() {
            Ok(())
        } else {
            Err(WireError::WrongHash {
                cid: self.to_string(),
            })
        }
    }

    /// The id of the elements of this block, as tombstones name it.
    #[must_use]
    pub fn element_id(&self) -> String {
        format!(
            "/{}",
            base::to_base32(self.multihash()).to_ascii_uppercase()
        )
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version() {
            0 => f.write_str(&base::to_base58(&self.0)),
            _ => write!(f, "b{}", base::to_base32(&self.0)),
        }
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cid({self})")
    }
}
