//! Reading and writing protobuf fields, as much as these messages need.

use crate::error::WireError;
use crate::limits::GROUP_DEPTH_MAX;
use crate::varint;

/// The value of one field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// 4 or 8 bytes, or a group: no message here uses them.
    Other,
}

/// One field: number, value, and where it begins in the message.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    pub number: u64,
    pub value: Value<'a>,
    pub start: usize,
    pub end: usize,
}

/// The fields of a message, in the order in which they lie. Ends at the first error.
pub struct Fields<'a> {
    message: &'a [u8],
    at: usize,
    what: &'static str,
}

/// Read the fields of a message; `what` names it in errors.
#[must_use]
pub fn fields<'a>(message: &'a [u8], what: &'static str) -> Fields<'a> {
    Fields {
        message,
        at: 0,
        what,
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<Field<'a>, WireError> {
        let truncated = WireError::Truncated {
            what: self.what,
            at: self.at,
        };
        let rest = self.message.get(self.at..).unwrap_or_default();
        let (tag, rest) = varint::split(rest).ok_or_else(|| truncated.clone())?;
        let number = tag >> 3;
        if number == 0 || tag > u64::from(u32::MAX) {
            return Err(WireError::malformed(
                self.what,
                "a field number is from 1 to 2^29 - 1",
            ));
        }
        let (value, rest) = match tag & 7 {
            0 => varint::split(rest)
                .map(|(n, rest)| (Value::Varint(n), rest))
                .ok_or(truncated)?,
            2 => {
                let (len, rest) = varint::split(rest).ok_or_else(|| truncated.clone())?;
                let len = usize::try_from(len).map_err(|_| truncated.clone())?;
                let (bytes, rest) = rest.split_at_checked(len).ok_or(truncated)?;
                (Value::Bytes(bytes), rest)
            }
            1 => (Value::Other, rest.get(8..).ok_or(truncated)?),
            5 => (Value::Other, rest.get(4..).ok_or(truncated)?),
            3 => (
                Value::Other,
                skip_group(number, rest)
                    .ok_or(WireError::malformed(self.what, "a group does not end"))?,
            ),
            _ => {
                return Err(WireError::malformed(
                    self.what,
                    "a field has a wire type that is not taken",
                ));
            }
        };
        let start = self.at;
        self.at = self.message.len() - rest.len();
        Ok(Field {
            number,
            value,
            start,
            end: self.at,
        })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.message.len() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.at = self.message.len();
        }
        Some(field)
    }
}

/// What follows the group that `open` began. Go passes over unknown groups, so they are no reason to refuse a node.
fn skip_group(open: u64, mut rest: &[u8]) -> Option<&[u8]> {
    let mut groups = vec![open];
    while let Some(&innermost) = groups.last() {
        let tag;
        (tag, rest) = varint::split(rest)?;
        let number = tag >> 3;
        if number == 0 || tag > u64::from(u32::MAX) {
            return None;
        }
        rest = match tag & 7 {
            0 => varint::split(rest)?.1,
            1 => rest.get(8..)?,
            2 => {
                let (len, rest) = varint::split(rest)?;
                rest.get(usize::try_from(len).ok()?..)?
            }
            3 if groups.len() < GROUP_DEPTH_MAX => {
                groups.push(number);
                rest
            }
            4 if number == innermost => {
                groups.pop();
                rest
            }
            5 => rest.get(4..)?,
            _ => return None,
        };
    }
    Some(rest)
}

/// The text of a `string` field, which is valid UTF-8.
pub fn text<'a>(value: Value<'a>, what: &'static str) -> Result<&'a str, WireError> {
    std::str::from_utf8(bytes(value, what)?)
        .map_err(|_| WireError::malformed(what, "a text field is not valid UTF-8"))
}

/// The bytes of a `bytes`, `string` or message field.
pub fn bytes<'a>(value: Value<'a>, what: &'static str) -> Result<&'a [u8], WireError> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err(WireError::malformed(
            what,
            "a field has the wrong wire type",
        )),
    }
}

/// The number of a `uint64` field.
pub fn number(value: Value<'_>, what: &'static str) -> Result<u64, WireError> {
    match value {
        Value::Varint(n) => Ok(n),
        _ => Err(WireError::malformed(
            what,
            "a field has the wrong wire type",
        )),
    }
}

/// Append a field of bytes, present even where it is empty.
pub fn push_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    varint::push(out, (field << 3) | 2);
    varint::push(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Append a field of bytes, left out where it is empty (the default).
pub fn push_bytes_unless_empty(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    if !bytes.is_empty() {
        push_bytes(out, field, bytes);
    }
}

/// Append a number, left out where it is 0 (the default).
pub fn push_number_unless_zero(out: &mut Vec<u8>, field: u64, n: u64) {
    if n != 0 {
        varint::push(out, field << 3);
        varint::push(out, n);
    }
}

/// Bytes that a field of `len` bytes takes.
#[must_use]
pub fn bytes_len(field: u64, len: usize) -> usize {
    varint::len(field << 3) + varint::len(len as u64) + len
}
