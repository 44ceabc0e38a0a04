//! Broadcasts: the heads that a peer has.

use crate::cid::Cid;
use crate::error::WireError;
use crate::limits::BROADCAST_BYTES_TAKEN_MAX;
use crate::proto::{self, Value, push_bytes, push_bytes_unless_empty};

const WHAT: &str = "broadcast";
const HEAD: &str = "broadcast head";
/// Field of Head that holds the head's block itself.
const BLOCK_FIELD: u64 = 100;

/// A head: a node that no other node of its DAG links to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head<'a> {
    pub cid: Cid,
    pub dag_name: &'a str,
    /// The head's block, where it rides along.
    pub block: Option<&'a [u8]>,
}

/// The payload that announces `heads`, in the order given.
#[must_use]
pub fn encode(heads: &[Head<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for head in heads {
        let mut message = Vec::new();
        push_bytes(&mut message, 1, head.cid.as_bytes());
        push_bytes_unless_empty(&mut message, 2, head.dag_name.as_bytes());
        push_bytes_unless_empty(&mut message, BLOCK_FIELD, head.block.unwrap_or_default());
        push_bytes(&mut out, 1, &message);
    }
    out
}

/// Read a payload. One that is a bare CID of version 0 is one head of the default DAG.
///
/// # Errors
/// It is too large, malformed, a bare CID of version 1, or has an unknown field at the top.
pub fn decode(payload: &[u8]) -> Result<Vec<Head<'_>>, WireError> {
    if payload.len() > BROADCAST_BYTES_TAKEN_MAX {
        return Err(WireError::TooLarge {
            what: WHAT,
            len: payload.len(),
            max: BROADCAST_BYTES_TAKEN_MAX,
        });
    }
    if payload.len() == 34 && payload.starts_with(&[0x12, 0x20]) {
        return Ok(vec![Head {
            cid: Cid::from_bytes(payload)?,
            dag_name: "",
            block: None,
        }]);
    }
    let mut heads = Vec::new();
    for field in proto::fields(payload, WHAT) {
        let field = field?;
        if field.number != 1 {
            return Err(WireError::malformed(
                WHAT,
                "it has an unknown field at the top",
            ));
        }
        heads.push(decode_head(proto::bytes(field.value, WHAT)?)?);
    }
    Ok(heads)
}

fn decode_head(message: &[u8]) -> Result<Head<'_>, WireError> {
    let (mut cid, mut dag_name, mut block) = (None, "", None);
    for field in proto::fields(message, HEAD) {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Bytes(bytes)) => cid = Some(bytes),
            (2, Value::Bytes(_)) => dag_name = proto::text(field.value, HEAD)?,
            (BLOCK_FIELD, Value::Bytes(bytes)) => block = Some(bytes),
            _ => {}
        }
    }
    let cid = Cid::from_bytes(cid.ok_or(WireError::malformed(HEAD, "it has no CID"))?)?;
    Ok(Head {
        cid,
        dag_name,
        block,
    })
}
