//! dag-pb framing: links, then data. Strict as the format's specification and Go's decoder are, with two
//! allowances that Go makes too: Data may come before the links, and a link may lack Name or Tsize.

use crate::cid::Cid;
use crate::error::{Fault, WireError};
use crate::varint::{Reader, Value, bytes_field_len, put_bytes_field, put_length_field};

const NODE: &str = "dag-pb node";
const LINK: &str = "dag-pb link";
/// Name `""` and Tsize 0, both present, as every link of the engine ends.
const LINK_END: [u8; 4] = [0x12, 0x00, 0x18, 0x00];

/// The parts of a dag-pb block.
#[derive(Debug, Clone)]
pub struct Frame<'a> {
    /// What the links lead to, in the block's order.
    pub links: Vec<Cid>,
    /// The Data section; empty where there is none.
    pub data: &'a [u8],
    /// Where Data begins in the block.
    pub data_at: usize,
}

/// Takes a block apart. Cost: one allocation per link.
pub fn decode(block: &[u8]) -> Result<Frame<'_>, WireError> {
    let mut reader = Reader::new(block, NODE);
    let mut links = Vec::new();
    let mut data = None;
    // Links stand in one run: Go refuses links on both sides of Data.
    let mut links_ended = false;
    while let Some(field) = reader.field()? {
        match (field.number, field.value) {
            (1, Value::Bytes(bytes, at)) => {
                if data.replace((bytes, at)).is_some() {
                    return Err(WireError::new(NODE, field.at, Fault::FieldOrder(1)));
                }
                links_ended = !links.is_empty();
            }
            (2, Value::Bytes(bytes, at)) => {
                if links_ended {
                    return Err(WireError::new(NODE, field.at, Fault::FieldOrder(2)));
                }
                links.push(decode_link(bytes, at)?);
            }
            (number, _) => {
                return Err(WireError::new(
                    NODE,
                    field.at,
                    Fault::UnexpectedField(number),
                ));
            }
        }
    }
    let (data, data_at) = data.unwrap_or((&[], block.len()));
    Ok(Frame {
        links,
        data,
        data_at,
    })
}

fn decode_link(bytes: &[u8], base: usize) -> Result<Cid, WireError> {
    let mut reader = Reader::inside(bytes, base, LINK);
    let mut cid = None;
    let mut last = 0;
    while let Some(field) = reader.field()? {
        if field.number <= last {
            return Err(WireError::new(
                LINK,
                field.at,
                Fault::FieldOrder(field.number),
            ));
        }
        last = field.number;
        match (field.number, field.value) {
            // What follows the CID inside Hash is passed over, as Go does.
            (1, Value::Bytes(hash, at)) => {
                cid = Some(Cid::read(hash).map_err(|error| error.shifted(at))?.0)
            }
            // Name is not looked at: Go takes any bytes there.
            (2, Value::Bytes(..)) | (3, Value::Varint(_)) => {}
            (number, _) => {
                return Err(WireError::new(
                    LINK,
                    field.at,
                    Fault::UnexpectedField(number),
                ));
            }
        }
    }
    cid.ok_or_else(|| WireError::new(LINK, base, Fault::MissingField(1)))
}

/// Appends the links, in the given order.
pub fn put_links(out: &mut Vec<u8>, links: &[Cid]) {
    for link in links {
        let hash = link.as_bytes();
        put_length_field(out, 2, bytes_field_len(1, hash.len()) + LINK_END.len());
        put_bytes_field(out, 1, hash);
        out.extend_from_slice(&LINK_END);
    }
}

/// Bytes that `put_links` appends.
#[must_use]
pub fn links_len(links: &[Cid]) -> usize {
    links
        .iter()
        .map(|link| {
            bytes_field_len(
                2,
                bytes_field_len(1, link.as_bytes().len()) + LINK_END.len(),
            )
        })
        .sum()
}
