//! Content identifiers: what a block is called, and whether it is what it is called.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::error::{Fault, WireError};
use crate::hash::HashKind;
use crate::limits::TEXT_BYTES_MAX;
use crate::multibase::{base32_lower, base32_upper, base58, parse_base32, parse_base58};
use crate::varint::{Reader, put_varint};

/// The codec of DAG nodes.
pub const DAG_PB: u64 = 0x70;
/// A CIDv0 is a bare sha2-256 multihash: these two bytes and 32 more.
const V0_START: [u8; 2] = [0x12, 0x20];
const V0_LEN: usize = 34;
const PLACE: &str = "CID";

/// A CID in its binary form. Cheap to clone; ordered, equal and hashed as its bytes.
#[derive(Clone)]
pub struct Cid {
    bytes: Arc<[u8]>,
    multihash_at: u32,
    digest_at: u32,
    codec: u64,
    hash_code: u64,
}

impl Cid {
    /// A CIDv0 or v1 and nothing after it. The hash may be one that `check` refuses.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let (cid, length) = Self::read(bytes)?;
        match bytes.len() - length {
            0 => Ok(cid),
            extra => Err(WireError::new(PLACE, length, Fault::Trailing(extra))),
        }
    }

    /// A CIDv0 or v1 at the front of `bytes`, and its length: Go passes over what follows one in a link.
    pub fn read(bytes: &[u8]) -> Result<(Self, usize), WireError> {
        let mut reader = Reader::new(bytes, PLACE);
        let mut codec = DAG_PB;
        let is_v0 = bytes.starts_with(&V0_START) && bytes.len() >= V0_LEN;
        if !is_v0 {
            let version = reader.minimal_varint()?;
            if version != 1 {
                return Err(WireError::new(PLACE, 0, Fault::CidVersion(version)));
            }
            codec = reader.minimal_varint()?;
        }
        let multihash_at = reader.consumed();
        let hash_code = reader.minimal_varint()?;
        let length = reader.minimal_varint()?;
        let digest_at = reader.consumed();
        reader.take(length)?;
        let end = reader.consumed();
        let cid = Self {
            bytes: bytes.get(..end).unwrap_or_default().into(),
            multihash_at: multihash_at as u32,
            digest_at: digest_at as u32,
            codec,
            hash_code,
        };
        Ok((cid, end))
    }

    /// A CID from text: base32 (`b…`, `B…`), base58btc (`z…`) or CIDv0 (`Qm…`).
    pub fn parse(text: &str) -> Result<Self, WireError> {
        if text.len() > TEXT_BYTES_MAX {
            let fault = Fault::TooLarge {
                bytes: text.len(),
                max: TEXT_BYTES_MAX,
            };
            return Err(WireError::new("CID text", 0, fault));
        }
        if text.len() == 46 && text.starts_with("Qm") {
            return Self::from_bytes(&parse_base58(text)?);
        }
        let bytes = if let Some(rest) = text.strip_prefix('b') {
            parse_base32(rest, false)?
        } else if let Some(rest) = text.strip_prefix('B') {
            parse_base32(rest, true)?
        } else if let Some(rest) = text.strip_prefix('z') {
            parse_base58(rest)?
        } else {
            let fault = Fault::Invalid(
                "begins with none of b, B, z and Qm (base32 and base58btc are read)",
            );
            return Err(WireError::new("CID text", 0, fault));
        };
        if bytes.starts_with(&V0_START) {
            return Err(WireError::new(
                "CID text",
                0,
                Fault::Invalid("a CIDv0 has no multibase prefix"),
            ));
        }
        Self::from_bytes(&bytes)
    }

    /// The CIDv1 of a DAG node. Cost: one hash of the block.
    #[must_use]
    pub fn of(kind: HashKind, block: &[u8]) -> Self {
        Self::assemble(Some(DAG_PB), kind, &kind.digest(block))
    }

    /// The CID of `block` by a bitswap prefix: version, codec, hash and digest length.
    pub fn from_prefix(prefix: &[u8], block: &[u8]) -> Result<Self, WireError> {
        const PLACE: &str = "CID prefix";
        let mut reader = Reader::new(prefix, PLACE);
        let version = reader.minimal_varint()?;
        if version > 1 {
            return Err(WireError::new(PLACE, 0, Fault::CidVersion(version)));
        }
        let codec = reader.minimal_varint()?;
        let code = reader.minimal_varint()?;
        let kind = HashKind::from_code(code)?;
        let length = reader.minimal_varint()?;
        if !reader.is_empty() {
            return Err(reader.error(Fault::Trailing(reader.rest().len())));
        }
        if version == 0 && (codec != DAG_PB || kind != HashKind::Sha2_256) {
            return Err(WireError::new(
                PLACE,
                0,
                Fault::Invalid("a CIDv0 is dag-pb and sha2-256"),
            ));
        }
        if kind == HashKind::Identity && !kind.takes_digest_len(block.len()) {
            return Err(WireError::new(
                PLACE,
                0,
                Fault::DigestLength {
                    code,
                    bytes: block.len(),
                },
            ));
        }
        let digest = kind.digest(block);
        if digest.len() as u64 != length {
            let bytes = usize::try_from(length).unwrap_or(usize::MAX);
            return Err(WireError::new(
                PLACE,
                0,
                Fault::DigestLength { code, bytes },
            ));
        }
        Ok(Self::assemble(
            (version == 1).then_some(codec),
            kind,
            &digest,
        ))
    }

    fn assemble(v1_codec: Option<u64>, kind: HashKind, digest: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(digest.len() + 8);
        if let Some(codec) = v1_codec {
            bytes.push(1);
            put_varint(&mut bytes, codec);
        }
        let multihash_at = bytes.len() as u32;
        put_varint(&mut bytes, kind.code());
        put_varint(&mut bytes, digest.len() as u64);
        let digest_at = bytes.len() as u32;
        bytes.extend_from_slice(digest);
        Self {
            bytes: bytes.into(),
            multihash_at,
            digest_at,
            codec: v1_codec.unwrap_or(DAG_PB),
            hash_code: kind.code(),
        }
    }

    /// Its binary form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[must_use]
    pub fn is_v0(&self) -> bool {
        self.multihash_at == 0
    }

    /// Its multicodec: `DAG_PB` for a DAG node.
    #[must_use]
    pub fn codec(&self) -> u64 {
        self.codec
    }

    /// The multicodec number of its hash.
    #[must_use]
    pub fn hash_code(&self) -> u64 {
        self.hash_code
    }

    #[must_use]
    pub fn digest(&self) -> &[u8] {
        self.bytes
            .get(self.digest_at as usize..)
            .unwrap_or_default()
    }

    /// Hash, length and digest: what blocks are stored and compared by.
    #[must_use]
    pub fn multihash(&self) -> &[u8] {
        self.bytes
            .get(self.multihash_at as usize..)
            .unwrap_or_default()
    }

    /// Its hash; an error names one that is not supported, or a cut digest.
    pub fn hash_kind(&self) -> Result<HashKind, WireError> {
        let kind = HashKind::from_code(self.hash_code)?;
        let bytes = self.digest().len();
        if !kind.takes_digest_len(bytes) {
            return Err(WireError::new(
                PLACE,
                0,
                Fault::DigestLength {
                    code: self.hash_code,
                    bytes,
                },
            ));
        }
        Ok(kind)
    }

    /// Whether this can name a DAG node that we can check: codec dag-pb and a supported hash.
    pub fn check_node(&self) -> Result<(), WireError> {
        if self.codec != DAG_PB {
            return Err(WireError::new(PLACE, 0, Fault::Codec(self.codec)));
        }
        self.hash_kind().map(|_| ())
    }

    /// Whether `block` is the one that this names. Cost: one hash of the block.
    pub fn check(&self, block: &[u8]) -> Result<(), WireError> {
        let kind = self.hash_kind()?;
        let same = match kind {
            HashKind::Identity => self.digest() == block,
            _ => self.digest() == kind.digest(block).as_slice(),
        };
        if same {
            Ok(())
        } else {
            Err(WireError::new("block", 0, Fault::HashMismatch))
        }
    }

    /// The id that the Go engine gives to this block's elements.
    #[must_use]
    pub fn element_id(&self) -> String {
        format!("/{}", base32_upper(self.multihash()))
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_v0() {
            f.write_str(&base58(&self.bytes))
        } else {
            write!(f, "b{}", base32_lower(&self.bytes))
        }
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cid({self})")
    }
}

impl PartialEq for Cid {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Cid {}

impl PartialOrd for Cid {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Cid {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.bytes.cmp(&other.bytes)
    }
}

impl Hash for Cid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

/// Tables keyed by CIDs can be asked with plain bytes.
impl Borrow<[u8]> for Cid {
    fn borrow(&self) -> &[u8] {
        &self.bytes
    }
}
