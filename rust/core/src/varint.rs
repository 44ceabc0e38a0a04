//! Varints and protobuf fields: a reader that never runs past its bytes, and the writers.

use crate::error::{Fault, WireError};
use crate::limits::GROUP_DEPTH_MAX;

/// Longest varint of 64 bits.
pub const VARINT_BYTES_MAX: usize = 10;
/// Greatest field number of protobuf.
const FIELD_NUMBER_MAX: u64 = (1 << 29) - 1;

/// Reads bytes from front to back; `base` is where they lie in their container, for errors.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    base: usize,
    place: &'static str,
}

/// A protobuf field as it lies on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    pub number: u32,
    /// Where its tag begins, counted from the container's first byte.
    pub at: usize,
    pub value: Value<'a>,
}

/// A field's value by its wire type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    Varint(u64),
    /// The bytes, and where they begin, counted from the container's first byte.
    Bytes(&'a [u8], usize),
    /// Fixed32, fixed64 or a group: nothing of ours has that type.
    Other,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`, called `place` in errors.
    #[must_use]
    pub fn new(bytes: &'a [u8], place: &'static str) -> Self {
        Self::inside(bytes, 0, place)
    }

    /// A reader of `bytes` that lie at `base` in their container.
    #[must_use]
    pub fn inside(bytes: &'a [u8], base: usize, place: &'static str) -> Self {
        Self {
            bytes,
            at: 0,
            base,
            place,
        }
    }

    /// Where the next byte lies in the container.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.base.saturating_add(self.at)
    }

    /// How many bytes were read.
    #[must_use]
    pub fn consumed(&self) -> usize {
        self.at
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// What was not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// An error here.
    #[cold]
    #[must_use]
    pub fn error(&self, fault: Fault) -> WireError {
        WireError::new(self.place, self.offset(), fault)
    }

    /// A varint of at most 64 bits, in any form that protobuf takes.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, WireError> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for (index, &byte) in self.rest().iter().take(VARINT_BYTES_MAX).enumerate() {
            if index + 1 == VARINT_BYTES_MAX && byte > 1 {
                return Err(self.error(Fault::VarintTooLong));
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.at += index + 1;
                return Ok(value);
            }
        }
        Err(self.error(Fault::Truncated))
    }

    /// A varint as multiformats take it: shortest form only, at most 63 bits.
    pub fn minimal_varint(&mut self) -> Result<u64, WireError> {
        let start = self.at;
        let value = self.varint()?;
        if value > u64::MAX >> 1 {
            return Err(self.error(Fault::VarintTooLong));
        }
        if self.at - start != varint_len(value) {
            return Err(self.error(Fault::VarintNotMinimal));
        }
        Ok(value)
    }

    /// The next `length` bytes.
    #[inline]
    pub fn take(&mut self, length: u64) -> Result<&'a [u8], WireError> {
        let taken = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest().get(..length));
        match taken {
            Some(taken) => {
                self.at += taken.len();
                Ok(taken)
            }
            None => Err(self.error(Fault::Truncated)),
        }
    }

    /// The next field, or `None` at the end.
    #[inline]
    pub fn field(&mut self) -> Result<Option<Field<'a>>, WireError> {
        if self.is_empty() {
            return Ok(None);
        }
        let at = self.offset();
        let (number, wire_type) = self.tag()?;
        let value = match wire_type {
            0 => Value::Varint(self.varint()?),
            2 => {
                let length = self.varint()?;
                let begin = self.offset();
                Value::Bytes(self.take(length)?, begin)
            }
            _ => {
                self.skip(number, wire_type)?;
                Value::Other
            }
        };
        Ok(Some(Field { number, at, value }))
    }

    #[inline]
    fn tag(&mut self) -> Result<(u32, u8), WireError> {
        let start = self.at;
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number > FIELD_NUMBER_MAX {
            self.at = start;
            return Err(self.error(Fault::FieldNumber(number)));
        }
        Ok((number as u32, (tag & 7) as u8))
    }

    /// Passes over the value of a wire type that nothing of ours has. A group is walked without recursion.
    fn skip(&mut self, number: u32, wire_type: u8) -> Result<(), WireError> {
        let mut open: Vec<u32> = Vec::new();
        let (mut number, mut wire_type) = (number, wire_type);
        loop {
            match wire_type {
                0 => {
                    self.varint()?;
                }
                1 => {
                    self.take(8)?;
                }
                2 => {
                    let length = self.varint()?;
                    self.take(length)?;
                }
                3 if open.len() < GROUP_DEPTH_MAX => open.push(number),
                4 if open.pop() == Some(number) => {}
                3 | 4 => return Err(self.error(Fault::Group(number))),
                5 => {
                    self.take(4)?;
                }
                _ => {
                    return Err(self.error(Fault::WireType {
                        field: number,
                        wire_type,
                    }));
                }
            }
            if open.is_empty() {
                return Ok(());
            }
            (number, wire_type) = self.tag()?;
        }
    }
}

/// Text of a proto3 string field whose bytes lie at `at`.
#[inline]
pub fn utf8<'a>(bytes: &'a [u8], at: usize, place: &'static str) -> Result<&'a str, WireError> {
    std::str::from_utf8(bytes)
        .map_err(|error| WireError::new(place, at.saturating_add(error.valid_up_to()), Fault::Utf8))
}

/// How many bytes `value` takes.
#[inline]
#[must_use]
pub fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends `value` in its shortest form.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends field `number` with `value`, whatever it is.
#[inline]
pub fn put_varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

/// Appends field `number` with `bytes`, whatever they are.
#[inline]
pub fn put_bytes_field(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_length_field(out, number, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends tag and length of field `number`; its bytes are appended by the caller.
#[inline]
pub fn put_length_field(out: &mut Vec<u8>, number: u32, length: usize) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, length as u64);
}

/// Bytes that a varint field takes with its tag.
#[inline]
#[must_use]
pub fn varint_field_len(number: u32, value: u64) -> usize {
    varint_len(u64::from(number) << 3) + varint_len(value)
}

/// Bytes that a field of `length` bytes takes with tag and length.
#[inline]
#[must_use]
pub fn bytes_field_len(number: u32, length: usize) -> usize {
    varint_len(u64::from(number) << 3) + varint_len(length as u64) + length
}
