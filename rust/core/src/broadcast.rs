//! A broadcast: the heads that a replica announces.

use crate::cid::Cid;
use crate::error::{Fault, WireError};
use crate::limits::PAYLOAD_BYTES_MAX;
use crate::varint::{Reader, Value, bytes_field_len, put_bytes_field, put_length_field, utf8};

/// Head's field number of the block itself, which Go passes over.
const FIELD_BLOCK: u32 = 100;
/// A payload of this length that begins so is the bare CIDv0 of a legacy peer.
const BARE_V0_START: [u8; 2] = [0x12, 0x20];
const BARE_V0_LEN: usize = 34;
const BROADCAST: &str = "broadcast";
const HEAD: &str = "Head";

/// One head of a DAG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head<'a> {
    pub cid: Cid,
    /// `""` is the default DAG.
    pub dag_name: &'a str,
    /// The head's block, not checked against its CID.
    pub block: Option<&'a [u8]>,
}

impl Head<'_> {
    fn content_len(&self) -> usize {
        let name = if self.dag_name.is_empty() {
            0
        } else {
            bytes_field_len(2, self.dag_name.len())
        };
        let block = self
            .block
            .map_or(0, |block| bytes_field_len(FIELD_BLOCK, block.len()));
        bytes_field_len(1, self.cid.as_bytes().len()) + name + block
    }

    /// Bytes that this head adds to a payload.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        bytes_field_len(1, self.content_len())
    }
}

/// The payload that announces `heads`. The caller keeps it within `BROADCAST_BYTES_MAX` (see `Head::encoded_len`).
#[must_use]
pub fn encode(heads: &[Head<'_>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(heads.iter().map(Head::encoded_len).sum());
    for head in heads {
        put_length_field(&mut out, 1, head.content_len());
        put_bytes_field(&mut out, 1, head.cid.as_bytes());
        if !head.dag_name.is_empty() {
            put_bytes_field(&mut out, 2, head.dag_name.as_bytes());
        }
        if let Some(block) = head.block {
            put_bytes_field(&mut out, FIELD_BLOCK, block);
        }
    }
    out
}

/// The heads of a payload of at most `PAYLOAD_BYTES_MAX`. A bare CIDv0 is one head of the default DAG; anything else
/// with an unknown field at its top is refused, as Go refuses it.
pub fn decode(payload: &[u8]) -> Result<Vec<Head<'_>>, WireError> {
    if payload.len() > PAYLOAD_BYTES_MAX {
        let fault = Fault::TooLarge {
            bytes: payload.len(),
            max: PAYLOAD_BYTES_MAX,
        };
        return Err(WireError::new(BROADCAST, 0, fault));
    }
    if payload.len() == BARE_V0_LEN && payload.starts_with(&BARE_V0_START) {
        return Ok(vec![Head {
            cid: Cid::from_bytes(payload)?,
            dag_name: "",
            block: None,
        }]);
    }
    let mut reader = Reader::new(payload, BROADCAST);
    let mut heads = Vec::new();
    while let Some(field) = reader.field()? {
        match (field.number, field.value) {
            (1, Value::Bytes(head, at)) => heads.push(decode_head(head, at)?),
            (number, _) => {
                return Err(WireError::new(
                    BROADCAST,
                    field.at,
                    Fault::UnexpectedField(number),
                ));
            }
        }
    }
    Ok(heads)
}

fn decode_head(bytes: &[u8], base: usize) -> Result<Head<'_>, WireError> {
    let mut reader = Reader::inside(bytes, base, HEAD);
    let (mut cid, mut dag_name, mut block) = (None, "", None);
    while let Some(field) = reader.field()? {
        match (field.number, field.value) {
            (1, Value::Bytes(bytes, at)) => cid = Some((bytes, at)),
            (2, Value::Bytes(name, at)) => dag_name = utf8(name, at, HEAD)?,
            (FIELD_BLOCK, Value::Bytes(bytes, _)) => block = Some(bytes),
            _ => {}
        }
    }
    let (cid, at) = cid.ok_or_else(|| WireError::new(HEAD, base, Fault::MissingField(1)))?;
    let cid = Cid::from_bytes(cid).map_err(|error| error.shifted(at))?;
    Ok(Head {
        cid,
        dag_name,
        block,
    })
}
