//! Columns of others: one array, or the arrays of a stream, of one type.

use super::{Array, Schema, Stream, Structure, text};
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::borrow::Cow;
use std::ffi::{CStr, c_void};
use std::mem::{align_of, size_of};

/// A column that somebody else keeps for us, until it is dropped.
pub struct Column {
    format: String,
    chunks: Vec<Array>,
}

/// What is wrong with a column, in words.
pub type Wrong = String;

/// The type of a column, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    Uint32,
    Int64,
    Uint64,
    Text,
    Other(&'a str),
}

impl std::fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Uint32 => "uint32",
            Kind::Int64 => "int64",
            Kind::Uint64 => "uint64",
            Kind::Text => "text",
            Kind::Other(name) => name,
        })
    }
}

impl Column {
    /// The column that an object shows; `None` for one that shows none. The inner error says what is wrong with it.
    pub fn of(object: &Bound<'_, PyAny>) -> PyResult<Option<Result<Self, Wrong>>> {
        type From = fn(&Bound<'_, PyAny>) -> Result<Column, Wrong>;
        let ways: [(&str, From); 2] = [
            ("__arrow_c_array__", from_array),
            ("__arrow_c_stream__", from_stream),
        ];
        for (name, from) in ways {
            let Some(method) = object.getattr_opt(name)? else {
                continue;
            };
            return match method.call0() {
                Ok(shown) => Ok(Some(from(&shown))),
                // pandas shows columns where pyarrow is installed, else they are iterables like any other.
                Err(error) if error.is_instance_of::<PyImportError>(object.py()) => Ok(None),
                Err(error) => Err(error),
            };
        }
        Ok(None)
    }

    /// How many rows there are, as far as they say so.
    pub fn len(&self) -> usize {
        let lengths = self.chunks.iter().map(|chunk| chunk.length);
        lengths.fold(0, |sum, length| {
            sum.saturating_add(usize::try_from(length).unwrap_or(0))
        })
    }

    /// Its type.
    pub fn kind(&self) -> Kind<'_> {
        match self.format.as_str() {
            "I" => Kind::Uint32,
            "l" => Kind::Int64,
            "L" => Kind::Uint64,
            "u" | "U" | "vu" => Kind::Text,
            other => Kind::Other(name_of(other)),
        }
    }

    /// Its rows, for a type of fixed width. The caller has asked for the type.
    pub fn numbers<T: Number>(&self) -> Result<Cow<'_, [T]>, Wrong> {
        if let [chunk] = self.chunks.as_slice() {
            return chunk.numbers();
        }
        let mut all = Vec::new();
        for chunk in &self.chunks {
            let rows = chunk.numbers()?;
            all.try_reserve(rows.len()).map_err(|_| no_memory())?;
            all.extend_from_slice(&rows);
        }
        Ok(Cow::Owned(all))
    }

    /// Its rows, for a column of text.
    pub fn texts(&self) -> Result<Vec<&str>, Wrong> {
        let layout = text::Layout::of(&self.format).ok_or("not a column of text")?;
        let mut all = Vec::new();
        for chunk in &self.chunks {
            text::read(chunk, layout, &mut all)?;
        }
        Ok(all)
    }
}

// SAFETY: an array is read only, its memory is nobody's to change until it is released, and that takes `&mut`.
unsafe impl Sync for Array {}

/// Integers: any bits are one.
///
/// # Safety
/// Only for types of which every pattern of bits is a value.
pub unsafe trait Number: Copy {}
// SAFETY: integers.
unsafe impl Number for u8 {}
// SAFETY: integers.
unsafe impl Number for u32 {}
// SAFETY: integers.
unsafe impl Number for i32 {}
// SAFETY: integers.
unsafe impl Number for i64 {}
// SAFETY: integers.
unsafe impl Number for u64 {}

fn from_array(pair: &Bound<'_, PyAny>) -> Result<Column, Wrong> {
    let pair: Option<(Bound<'_, PyAny>, Bound<'_, PyAny>)> =
        pair.cast::<PyTuple>().ok().and_then(|p| p.extract().ok());
    let (schema, array) = pair.ok_or("__arrow_c_array__ gave no pair of capsules")?;
    // Both are taken before either is judged, so that both are released.
    let (schema, array) = (Schema::take(&schema), Array::take(&array));
    Column::new(&schema?, vec![array?])
}

fn from_stream(capsule: &Bound<'_, PyAny>) -> Result<Column, Wrong> {
    let mut stream = Stream::take(capsule)?;
    let mut schema = Schema::empty();
    let get_schema = stream.get_schema.ok_or("a stream without get_schema")?;
    // SAFETY: the stream's own callback; it was not released, and fills the empty structure.
    let code = unsafe { get_schema(&mut stream, &mut schema) };
    stream.check(code)?;
    let get_next = stream.get_next.ok_or("a stream without get_next")?;
    let mut chunks = Vec::new();
    loop {
        let mut array = Array::empty();
        // SAFETY: as above.
        let code = unsafe { get_next(&mut stream, &mut array) };
        stream.check(code)?;
        if array.is_empty() {
            return Column::new(&schema, chunks);
        }
        chunks.push(array);
    }
}

impl Stream {
    fn check(&mut self, code: i32) -> Result<(), Wrong> {
        if code == 0 {
            return Ok(());
        }
        let said = self.get_last_error.map_or(std::ptr::null(), |said| {
            // SAFETY: the stream's own callback, after a call that failed.
            unsafe { said(self) }
        });
        if said.is_null() {
            return Err(format!("a stream that fails with the error {code}"));
        }
        // SAFETY: not NULL, so text that ends with NUL and stays until the next call.
        let said = unsafe { CStr::from_ptr(said) };
        Err(format!("a stream that fails: {}", said.to_string_lossy()))
    }
}

impl Column {
    fn new(schema: &Schema, chunks: Vec<Array>) -> Result<Self, Wrong> {
        if schema.is_empty() || schema.format.is_null() {
            return Err("a schema without a format".to_owned());
        }
        if !schema.dictionary.is_null() {
            return Err("dictionary-encoded: cast it to its values first".to_owned());
        }
        // SAFETY: of a schema that was not released, and not NULL: text that ends with NUL.
        let format = unsafe { CStr::from_ptr(schema.format) };
        Ok(Column {
            format: format.to_string_lossy().into_owned(),
            chunks,
        })
    }
}

/// The rows of an array: `offset` is the first, in elements of its buffers.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub offset: usize,
    pub length: usize,
    /// Where the last row ends.
    pub end: usize,
}

impl Array {
    /// The rows, none of them null.
    pub(super) fn span(&self) -> Result<Span, Wrong> {
        let offset = usize::try_from(self.offset).ok();
        let length = usize::try_from(self.length).ok();
        let (Some(offset), Some(length)) = (offset, length) else {
            return Err("malformed: a length or an offset below 0".to_owned());
        };
        // Both are below 2⁶³, so the sum is below 2⁶⁴.
        let end = offset + length;
        let span = Span {
            offset,
            length,
            end,
        };
        if length > 0 {
            self.check_valid(span)?;
        }
        Ok(span)
    }

    fn check_valid(&self, span: Span) -> Result<(), Wrong> {
        if self.null_count == 0 {
            return Ok(());
        }
        if self.buffer(0).is_none() {
            // Below 0: not counted. Without a bitmap there are none.
            return match self.null_count {
                1.. => Err("malformed: nulls without a validity bitmap".to_owned()),
                _ => Ok(()),
            };
        }
        let bitmap = self.elements::<u8>(0, span.end.div_ceil(8))?;
        match first_null(&bitmap, span) {
            Some(row) => Err(format!("null at row {row}: drop or fill nulls first")),
            None => Ok(()),
        }
    }

    /// How many buffers there are.
    pub(super) fn buffer_count(&self) -> usize {
        match self.buffers.is_null() {
            true => 0,
            false => usize::try_from(self.n_buffers).unwrap_or(0),
        }
    }

    /// A buffer, where there is one.
    pub(super) fn buffer(&self, index: usize) -> Option<*const c_void> {
        if index >= self.buffer_count() {
            return None;
        }
        // SAFETY: there are so many pointers (a promise of the array that holds them), and the array was not released.
        let buffer = unsafe { *self.buffers.add(index) };
        (!buffer.is_null()).then_some(buffer)
    }

    /// The first `count` elements of a buffer; a copy where they are not aligned, which the interface allows.
    pub(super) fn elements<T: Number>(
        &self,
        index: usize,
        count: usize,
    ) -> Result<Cow<'_, [T]>, Wrong> {
        if count == 0 {
            return Ok(Cow::Borrowed(&[]));
        }
        let bytes = count.checked_mul(size_of::<T>());
        if bytes.is_none_or(|bytes| bytes > isize::MAX as usize) {
            return Err("malformed: longer than memory".to_owned());
        }
        let buffer = self
            .buffer(index)
            .ok_or_else(|| format!("malformed: buffer {index} is missing"))?
            .cast::<T>();
        if buffer.align_offset(align_of::<T>()) == 0 {
            // SAFETY: not NULL, aligned, no longer than `isize::MAX`; the array promises as many elements, which
            // nobody changes until it is released, and any bits are a value (`Number`). The borrow of `self` keeps
            // the array from being released.
            return Ok(Cow::Borrowed(unsafe {
                std::slice::from_raw_parts(buffer, count)
            }));
        }
        let mut copy = Vec::new();
        copy.try_reserve_exact(count).map_err(|_| no_memory())?;
        // SAFETY: as above, but for the alignment, which is not asked for here.
        copy.extend((0..count).map(|row| unsafe { buffer.add(row).read_unaligned() }));
        Ok(Cow::Owned(copy))
    }

    fn numbers<T: Number>(&self) -> Result<Cow<'_, [T]>, Wrong> {
        let span = self.span()?;
        if span.length == 0 {
            return Ok(Cow::Borrowed(&[]));
        }
        Ok(match self.elements(1, span.end)? {
            Cow::Borrowed(all) => Cow::Borrowed(all.get(span.offset..).unwrap_or(&[])),
            Cow::Owned(mut all) => {
                all.drain(..span.offset.min(all.len()));
                Cow::Owned(all)
            }
        })
    }
}

pub(super) fn no_memory() -> Wrong {
    "longer than memory".to_owned()
}

/// The first row whose bit is not set.
fn first_null(bitmap: &[u8], span: Span) -> Option<usize> {
    let mut row = 0;
    while row < span.length {
        let (byte, bit) = ((span.offset + row) / 8, (span.offset + row) % 8);
        let byte = bitmap.get(byte)?;
        if bit == 0 && *byte == 0xff {
            row += 8;
        } else if byte >> bit & 1 == 0 {
            return Some(row);
        } else {
            row += 1;
        }
    }
    None
}

fn name_of(format: &str) -> &str {
    match format {
        "n" => "null",
        "b" => "bool",
        "c" => "int8",
        "C" => "uint8",
        "s" => "int16",
        "S" => "uint16",
        "i" => "int32",
        "e" => "float16",
        "f" => "float32",
        "g" => "float64",
        "z" => "binary",
        "Z" => "large_binary",
        "vz" => "binary_view",
        _ if format.starts_with("d:") => "decimal",
        _ if format.starts_with("+s") => "struct (a table: pass one of its columns)",
        _ if format.starts_with("+r") => "run-end-encoded data",
        _ if format.starts_with('+') => "nested data",
        _ if format.starts_with('t') => "dates, times or durations",
        _ => format,
    }
}
