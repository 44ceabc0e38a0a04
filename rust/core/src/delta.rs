//! A delta: the elements, tombstones and height of one DAG node. Borrowed from its block: nothing is copied.

use crate::error::WireError;
use crate::varint::{
    Field, Reader, Value, bytes_field_len, put_bytes_field, put_length_field, put_varint_field,
    utf8, varint_field_len,
};

/// Delta's field number of `Native`, which Go passes over.
pub const FIELD_NATIVE: u32 = 100;
/// Delta's field number of the signature, which Go passes over.
pub const FIELD_SIGNATURE: u32 = 101;
/// The greatest `kind` that we know.
pub const KIND_MAX: u64 = 2;
const SECTION_BYTES: usize = 16;
const DELTA: &str = "Delta";
const ELEMENT: &str = "Element";

/// A key with its value, or (as a tombstone) the id of the element that it removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Element<'a> {
    pub key: &'a str,
    pub id: &'a str,
    pub value: &'a [u8],
}

/// What our nodes say about themselves, in a field that Go passes over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Native<'a> {
    /// Peer id (multihash bytes) of the replica that wrote the node.
    pub author: &'a [u8],
    /// Nonce of a section of the author's chain; zeros (and `unknown`) where it has not 16 bytes.
    pub section: [u8; SECTION_BYTES],
    /// 1, 2, 3 … within the section.
    pub sequence: u64,
    /// 0 delta, 1 checkpoint top, 2 checkpoint chunk.
    pub kind: u64,
    /// Kept for checkpoints: every field 5, as it is.
    pub covers: Vec<&'a [u8]>,
    /// Kept for checkpoints.
    pub chunk_count: u64,
    /// Written by a newer version: a field, a kind or a section that we do not know. Such a node is kept, served
    /// and walked, but not merged.
    pub unknown: bool,
}

/// The content of a DAG node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delta<'a> {
    pub elements: Vec<Element<'a>>,
    pub tombstones: Vec<Element<'a>>,
    /// The node's height.
    pub priority: u64,
    /// The DAG that the node was written to; `""` is the default one.
    pub dag_name: &'a str,
    /// None in a Go peer's node, or where field 100 does not decode: as Go sees it.
    pub native: Option<Native<'a>>,
}

/// Where field 101 lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SignatureField {
    #[default]
    Absent,
    /// Once; its tag begins at this offset of the block.
    At(usize),
    Repeated,
}

impl Element<'_> {
    /// The value as Go reads it: 8 bytes big-endian; a shorter one counts as 0, of a longer one the first 8.
    #[inline]
    #[must_use]
    pub fn value_u64(&self) -> u64 {
        self.value
            .first_chunk()
            .map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }

    fn encoded_len(&self) -> usize {
        text_len(1, self.key) + text_len(2, self.id) + bytes_len(3, self.value)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, 1, self.key.as_bytes());
        put_bytes(out, 2, self.id.as_bytes());
        put_bytes(out, 3, self.value);
    }
}

/// Decodes a Delta that lies at `base` of its block. Cost: one pass, 48 bytes of memory per element.
pub(crate) fn decode(bytes: &[u8], base: usize) -> Result<(Delta<'_>, SignatureField), WireError> {
    let mut reader = Reader::inside(bytes, base, DELTA);
    let mut delta = Delta::default();
    let mut signature = SignatureField::Absent;
    while let Some(Field { number, at, value }) = reader.field()? {
        match (number, value) {
            (1, Value::Bytes(element, at)) => delta.elements.push(decode_element(element, at)?),
            (2, Value::Bytes(element, at)) => delta.tombstones.push(decode_element(element, at)?),
            (3, Value::Varint(priority)) => delta.priority = priority,
            (4, Value::Bytes(name, at)) => delta.dag_name = utf8(name, at, DELTA)?,
            (FIELD_NATIVE, Value::Bytes(native, at)) => {
                delta.native = decode_native(native, at).ok()
            }
            (FIELD_SIGNATURE, _) => {
                signature = match signature {
                    SignatureField::Absent => SignatureField::At(at),
                    _ => SignatureField::Repeated,
                }
            }
            // Unknown fields, and known ones of another wire type, are passed over: proto3.
            _ => {}
        }
    }
    Ok((delta, signature))
}

#[inline]
fn decode_element(bytes: &[u8], base: usize) -> Result<Element<'_>, WireError> {
    let mut reader = Reader::inside(bytes, base, ELEMENT);
    let mut element = Element::default();
    while let Some(field) = reader.field()? {
        match (field.number, field.value) {
            (1, Value::Bytes(key, at)) => element.key = utf8(key, at, ELEMENT)?,
            (2, Value::Bytes(id, at)) => element.id = utf8(id, at, ELEMENT)?,
            (3, Value::Bytes(value, _)) => element.value = value,
            _ => {}
        }
    }
    Ok(element)
}

fn decode_native(bytes: &[u8], base: usize) -> Result<Native<'_>, WireError> {
    let mut reader = Reader::inside(bytes, base, "Native");
    let mut native = Native::default();
    let mut section: &[u8] = &[];
    while let Some(field) = reader.field()? {
        match (field.number, field.value) {
            (1, Value::Bytes(author, _)) => native.author = author,
            (2, Value::Bytes(bytes, _)) => section = bytes,
            (3, Value::Varint(sequence)) => native.sequence = sequence,
            (4, Value::Varint(kind)) => native.kind = kind,
            (5, Value::Bytes(covers, _)) => native.covers.push(covers),
            (6, Value::Varint(count)) => native.chunk_count = count,
            _ => native.unknown = true,
        }
    }
    match section.try_into() {
        Ok(section) => native.section = section,
        Err(_) => native.unknown = true,
    }
    native.unknown |= native.kind > KIND_MAX;
    Ok(native)
}

/// Appends the Delta in our form: fields ascending, defaults omitted. The signature is the caller's.
pub(crate) fn put(out: &mut Vec<u8>, delta: &Delta<'_>) {
    for (number, elements) in [(1, &delta.elements), (2, &delta.tombstones)] {
        for element in elements {
            put_length_field(out, number, element.encoded_len());
            element.put(out);
        }
    }
    put_varint_default(out, 3, delta.priority);
    put_bytes(out, 4, delta.dag_name.as_bytes());
    if let Some(native) = &delta.native {
        put_length_field(out, FIELD_NATIVE, native_len(native));
        put_native(out, native);
    }
}

/// Bytes that `put` appends.
pub(crate) fn encoded_len(delta: &Delta<'_>) -> usize {
    let of = |number, elements: &[Element<'_>]| -> usize {
        elements
            .iter()
            .map(|element| bytes_field_len(number, element.encoded_len()))
            .sum()
    };
    of(1, &delta.elements)
        + of(2, &delta.tombstones)
        + varint_default_len(3, delta.priority)
        + text_len(4, delta.dag_name)
        + delta.native.as_ref().map_or(0, |native| {
            bytes_field_len(FIELD_NATIVE, native_len(native))
        })
}

fn put_native(out: &mut Vec<u8>, native: &Native<'_>) {
    put_bytes(out, 1, native.author);
    put_bytes_field(out, 2, &native.section);
    put_varint_default(out, 3, native.sequence);
    put_varint_default(out, 4, native.kind);
    for covers in &native.covers {
        put_bytes_field(out, 5, covers);
    }
    put_varint_default(out, 6, native.chunk_count);
}

fn native_len(native: &Native<'_>) -> usize {
    bytes_len(1, native.author)
        + bytes_field_len(2, SECTION_BYTES)
        + varint_default_len(3, native.sequence)
        + varint_default_len(4, native.kind)
        + native
            .covers
            .iter()
            .map(|covers| bytes_field_len(5, covers.len()))
            .sum::<usize>()
        + varint_default_len(6, native.chunk_count)
}

fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_bytes_field(out, number, bytes);
    }
}

fn bytes_len(number: u32, bytes: &[u8]) -> usize {
    if bytes.is_empty() {
        0
    } else {
        bytes_field_len(number, bytes.len())
    }
}

fn text_len(number: u32, text: &str) -> usize {
    bytes_len(number, text.as_bytes())
}

fn put_varint_default(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        put_varint_field(out, number, value);
    }
}

fn varint_default_len(number: u32, value: u64) -> usize {
    if value == 0 {
        0
    } else {
        varint_field_len(number, value)
    }
}
