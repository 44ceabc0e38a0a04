//! The Delta message: elements, tombstones, priority, dagName, and our own fields in it.

use crate::error::WireError;
use crate::proto::{
    self, Value, bytes_len, push_bytes, push_bytes_unless_empty, push_number_unless_zero,
};

const WHAT: &str = "delta";
const ELEMENT: &str = "element";
const NATIVE: &str = "native field";

/// Field of Delta that holds a [`Native`].
pub const NATIVE_FIELD: u64 = 100;
/// Field of Delta that holds the signature, as its very last bytes.
pub const SIGNATURE_FIELD: u64 = 101;

/// Room for tags and lengths of an element, and for all that is no element: a guess that spares growing.
const ELEMENT_OVERHEAD_BYTES: usize = 12;
const OVERHEAD_BYTES: usize = 512;

/// The greatest kind of node that this version knows.
pub const KIND_MAX: u64 = 2;

/// One (key, value) of a delta, borrowed from the block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Element<'a> {
    pub key: &'a str,
    /// Of a tombstone: the id of the block whose element it removes. Written elements have none.
    pub id: &'a str,
    pub value: &'a [u8],
}

impl Element<'_> {
    /// The running total, as Go reads it: a short value is 0, of a long one the first eight bytes count.
    #[must_use]
    pub fn value_u64(&self) -> u64 {
        self.value
            .first_chunk::<8>()
            .map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}

/// What nodes of ours say of themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Native<'a> {
    /// Multihash bytes of the author's peer id.
    pub author: &'a [u8],
    pub section: [u8; 16],
    pub sequence: u64,
    /// 0 delta, 1 checkpoint top, 2 checkpoint chunk.
    pub kind: u64,
    pub covers: &'a [u8],
    pub chunk_count: u64,
    /// It has a field, or a form of one, that this version does not know.
    pub unknown: bool,
}

impl<'a> Native<'a> {
    /// Of an ordinary node.
    #[must_use]
    pub fn delta(author: &'a [u8], section: [u8; 16], sequence: u64) -> Self {
        Native {
            author,
            section,
            sequence,
            kind: 0,
            covers: &[],
            chunk_count: 0,
            unknown: false,
        }
    }

    /// Whether a newer version wrote this node: it is kept, served and walked, but not merged.
    #[must_use]
    pub fn is_from_newer_version(&self) -> bool {
        self.unknown || self.kind > KIND_MAX
    }

    fn decode(message: &'a [u8]) -> Result<Self, WireError> {
        let mut native = Native::delta(&[], [0; 16], 0);
        let mut has_section = false;
        for field in proto::fields(message, NATIVE) {
            let field = field?;
            match (field.number, field.value) {
                (1, Value::Bytes(author)) => native.author = author,
                (2, Value::Bytes(section)) => match section.try_into() {
                    Ok(section) => (native.section, has_section) = (section, true),
                    Err(_) => native.unknown = true,
                },
                (3, Value::Varint(sequence)) => native.sequence = sequence,
                (4, Value::Varint(kind)) => native.kind = kind,
                (5, Value::Bytes(covers)) => native.covers = covers,
                (6, Value::Varint(count)) => native.chunk_count = count,
                _ => native.unknown = true,
            }
        }
        native.unknown |= !has_section;
        Ok(native)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        push_bytes_unless_empty(&mut out, 1, self.author);
        push_bytes(&mut out, 2, &self.section);
        push_number_unless_zero(&mut out, 3, self.sequence);
        push_number_unless_zero(&mut out, 4, self.kind);
        push_bytes_unless_empty(&mut out, 5, self.covers);
        push_number_unless_zero(&mut out, 6, self.chunk_count);
        out
    }
}

/// What one node changes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Delta<'a> {
    pub elements: Vec<Element<'a>>,
    pub tombstones: Vec<Element<'a>>,
    pub priority: u64,
    pub dag_name: &'a str,
    pub native: Option<Native<'a>>,
}

/// A decoded delta, and where its signature fields lie.
pub(crate) struct Decoded<'a> {
    pub delta: Delta<'a>,
    /// How many fields 101 there are.
    pub signatures: usize,
    /// The last field is a field 101.
    pub ends_with_signature: bool,
}

pub(crate) fn decode(message: &[u8]) -> Result<Decoded<'_>, WireError> {
    let mut out = Decoded {
        delta: Delta::default(),
        signatures: 0,
        ends_with_signature: false,
    };
    for field in proto::fields(message, WHAT) {
        let field = field?;
        out.ends_with_signature = false;
        match (field.number, field.value) {
            (1, Value::Bytes(element)) => out.delta.elements.push(decode_element(element)?),
            (2, Value::Bytes(element)) => out.delta.tombstones.push(decode_element(element)?),
            (3, Value::Varint(priority)) => out.delta.priority = priority,
            (4, Value::Bytes(_)) => out.delta.dag_name = proto::text(field.value, WHAT)?,
            // What does not decode is no word of ours: a plain node, as it is to Go. Twice: the last, as proto3 has it.
            (NATIVE_FIELD, Value::Bytes(bytes)) => out.delta.native = Native::decode(bytes).ok(),
            (SIGNATURE_FIELD, _) => {
                out.signatures += 1;
                out.ends_with_signature = true;
            }
            // Unknown, or of another wire type than ours: passed over, as Go does. Refusing would cut off the DAG above.
            _ => {}
        }
    }
    Ok(out)
}

fn decode_element(message: &[u8]) -> Result<Element<'_>, WireError> {
    let mut element = Element {
        key: "",
        id: "",
        value: &[],
    };
    for field in proto::fields(message, ELEMENT) {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Bytes(_)) => element.key = proto::text(field.value, ELEMENT)?,
            (2, Value::Bytes(_)) => element.id = proto::text(field.value, ELEMENT)?,
            (3, Value::Bytes(value)) => element.value = value,
            _ => {}
        }
    }
    Ok(element)
}

/// The bytes of a delta without signature: defaults omitted, fields in order of their numbers.
pub(crate) fn encode(delta: &Delta<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded_len_about(delta));
    push(&mut out, delta);
    out
}

/// A guess that is rarely too low.
pub(crate) fn encoded_len_about(delta: &Delta<'_>) -> usize {
    let texts = |elements: &[Element<'_>]| -> usize {
        let bytes = elements
            .iter()
            .map(|e| e.key.len() + e.id.len() + e.value.len());
        bytes.sum::<usize>() + elements.len() * ELEMENT_OVERHEAD_BYTES
    };
    texts(&delta.elements) + texts(&delta.tombstones) + OVERHEAD_BYTES
}

/// As [`encode`], at the end of `out`. What follows elements that are there already is a delta without elements.
pub(crate) fn push(out: &mut Vec<u8>, delta: &Delta<'_>) {
    for (field, elements) in [(1, &delta.elements), (2, &delta.tombstones)] {
        for element in elements {
            let parts = [element.key.as_bytes(), element.id.as_bytes(), element.value];
            push_element(out, field, parts);
        }
    }
    push_number_unless_zero(out, 3, delta.priority);
    push_bytes_unless_empty(out, 4, delta.dag_name.as_bytes());
    if let Some(native) = &delta.native {
        push_bytes(out, NATIVE_FIELD, &native.encode());
    }
}

fn push_element(out: &mut Vec<u8>, field: u64, parts: [&[u8]; 3]) {
    let len = (1..)
        .zip(parts)
        .filter(|(_, part)| !part.is_empty())
        .map(|(n, part)| bytes_len(n, part.len()))
        .sum::<usize>();
    crate::varint::push(out, (field << 3) | 2);
    crate::varint::push(out, len as u64);
    for (number, part) in (1..).zip(parts) {
        push_bytes_unless_empty(out, number, part);
    }
}

/// Bytes of an element whose key has `key_len` bytes, and whose value has eight.
pub(crate) fn counter_len(key_len: usize) -> usize {
    bytes_len(1, bytes_len(1, key_len) + bytes_len(3, 8))
}

/// An element without id, its key in parts (not all of them empty), its value a running total.
pub(crate) fn push_counter(out: &mut Vec<u8>, key: [&str; 3], value: u64) {
    let key_len = key.iter().map(|part| part.len()).sum::<usize>();
    crate::varint::push(out, (1 << 3) | 2);
    crate::varint::push(out, (bytes_len(1, key_len) + bytes_len(3, 8)) as u64);
    crate::varint::push(out, (1 << 3) | 2);
    crate::varint::push(out, key_len as u64);
    for part in key {
        out.extend_from_slice(part.as_bytes());
    }
    push_bytes(out, 3, &value.to_be_bytes());
}
