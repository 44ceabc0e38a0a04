//! Columns of text: `utf8` and `large_utf8` (offsets into one buffer), `utf8_view` (views into several).

use super::Array;
use super::import::{Number, Wrong, no_memory};
use std::borrow::Cow;
use std::str::from_utf8;

/// Bytes of a view: length, then the text where it has at most [`INLINE_MAX`] bytes, else its first 4 bytes, the
/// index of its buffer and its offset there.
const VIEW_BYTES: usize = 16;
const INLINE_MAX: usize = 12;
/// The buffers before those that hold text: validity and views.
const BUFFERS_BEFORE: usize = 2;

#[derive(Clone, Copy)]
pub enum Layout {
    Short,
    Long,
    Views,
}

impl Layout {
    pub fn of(format: &str) -> Option<Self> {
        match format {
            "u" => Some(Layout::Short),
            "U" => Some(Layout::Long),
            "vu" => Some(Layout::Views),
            _ => None,
        }
    }
}

/// Append the rows of a chunk to `out`.
pub fn read<'a>(array: &'a Array, layout: Layout, out: &mut Vec<&'a str>) -> Result<(), Wrong> {
    let length = array.span()?.length;
    if length == 0 {
        return Ok(()); // its buffers may be missing
    }
    match layout {
        Layout::Short => by_offsets::<i32>(array, out),
        Layout::Long => by_offsets::<i64>(array, out),
        Layout::Views => by_views(array, out),
    }
}

fn by_offsets<'a, T>(array: &'a Array, out: &mut Vec<&'a str>) -> Result<(), Wrong>
where
    T: Number,
    usize: TryFrom<T>,
{
    let span = array.span()?;
    let offsets = array.elements::<T>(1, span.end.saturating_add(1))?;
    let offsets = offsets.get(span.offset..).unwrap_or(&[]);
    let at = |offset: &T| usize::try_from(*offset).map_err(|_| malformed("an offset below 0"));
    let (first, last) = match offsets {
        [first, .., last] => (at(first)?, at(last)?),
        _ => return Err(malformed("no offsets")),
    };
    let bytes = borrowed(array, 2, last)?;
    let bytes = bytes.get(first..).ok_or_else(descending)?;
    let text = from_utf8(bytes).map_err(|_| not_utf8())?;
    out.try_reserve(span.length).map_err(|_| no_memory())?;
    for pair in offsets.windows(2) {
        let [from, to] = pair else { continue };
        let (from, to) = (at(from)?, at(to)?);
        if from < first || to < from || to > last {
            return Err(descending());
        }
        out.push(text.get(from - first..to - first).ok_or_else(not_utf8)?);
    }
    Ok(())
}

fn by_views<'a>(array: &'a Array, out: &mut Vec<&'a str>) -> Result<(), Wrong> {
    let span = array.span()?;
    let bytes = span.end.checked_mul(VIEW_BYTES);
    let bytes = bytes.ok_or_else(|| malformed("longer than memory"))?;
    let views = borrowed(array, 1, bytes)?;
    let (views, _) = views.as_chunks::<VIEW_BYTES>();
    let texts = texts(array)?;
    out.try_reserve(span.length).map_err(|_| no_memory())?;
    for view in views.get(span.offset..).unwrap_or(&[]) {
        let bytes = view_of(view, &texts)?;
        out.push(from_utf8(bytes).map_err(|_| not_utf8())?);
    }
    Ok(())
}

/// The buffers that hold text. The last buffer of the array says how long each of them is.
fn texts(array: &Array) -> Result<Vec<&[u8]>, Wrong> {
    let count = array.buffer_count().checked_sub(BUFFERS_BEFORE + 1);
    let count = count.ok_or_else(|| malformed("views without the sizes of their buffers"))?;
    let sizes = array.elements::<i64>(BUFFERS_BEFORE + count, count)?;
    sizes
        .iter()
        .enumerate()
        .map(|(index, size)| {
            let size = usize::try_from(*size).map_err(|_| malformed("a buffer's size below 0"))?;
            borrowed(array, BUFFERS_BEFORE + index, size)
        })
        .collect()
}

/// Bytes always are aligned, so they need no copy.
fn borrowed(array: &Array, index: usize, count: usize) -> Result<&[u8], Wrong> {
    match array.elements::<u8>(index, count)? {
        Cow::Borrowed(bytes) => Ok(bytes),
        Cow::Owned(_) => Err(malformed("bytes that are not aligned")),
    }
}

fn view_of<'a>(view: &'a [u8; VIEW_BYTES], texts: &[&'a [u8]]) -> Result<&'a [u8], Wrong> {
    let word = |at: usize| {
        let bytes = view.get(at..).and_then(|rest| rest.first_chunk::<4>());
        let word = i32::from_le_bytes(bytes.copied().unwrap_or_default());
        usize::try_from(word).map_err(|_| malformed("a view below 0"))
    };
    let length = word(0)?;
    if length <= INLINE_MAX {
        return view.get(4..4 + length).ok_or_else(outside);
    }
    let (index, offset) = (word(8)?, word(12)?);
    let text = texts.get(index).ok_or_else(outside)?;
    text.get(offset..offset + length).ok_or_else(outside)
}

fn malformed(why: &str) -> Wrong {
    format!("malformed: {why}")
}

fn descending() -> Wrong {
    malformed("offsets that go down")
}

fn outside() -> Wrong {
    malformed("a view outside its buffer")
}

fn not_utf8() -> Wrong {
    "not valid UTF-8".to_owned()
}
