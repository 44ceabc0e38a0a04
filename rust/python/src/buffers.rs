//! Columns of numbers in a buffer: numpy arrays, `array.array`, memory views, anything with the buffer protocol.

use crate::arrow::import::{Number, Wrong};
use crdtstats_engine::{BLOCK_ROWS, Block, Column};
use pyo3::buffer::PyUntypedBuffer;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::mem::size_of;

/// A buffer that its object keeps in place until it is dropped.
pub struct Buffer(PyUntypedBuffer);

/// The type of a buffer's items.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Uint32,
    Int64,
    Uint64,
    /// Text or objects: no column of numbers, but perhaps an iterable of what is wanted.
    Objects,
    Other,
}

impl Buffer {
    /// The buffer of an object; `None` for one that has none (that can be described).
    pub fn of(object: &Bound<'_, PyAny>) -> Option<Self> {
        // SAFETY: an object that is alive; this thread is attached.
        let has_buffer = unsafe { pyo3::ffi::PyObject_CheckBuffer(object.as_ptr()) } == 1;
        if !has_buffer {
            return None;
        }
        // A memory view fills in what its object leaves out (ctypes: strides). numpy's dates and texts of any length
        // have no buffer after all: they stay iterables.
        let view = PyMemoryView::from(object).ok()?;
        PyUntypedBuffer::get(&view).ok().map(Buffer)
    }

    pub fn kind(&self) -> Kind {
        let format = self.format().to_bytes();
        let item = match format {
            [b'@' | b'=' | b'<', item @ ..] => item,
            item => item,
        };
        // A letter means other sizes in other modes: the item's size decides.
        match (item, self.0.item_size()) {
            ([b'I' | b'L'], 4) => Kind::Uint32,
            ([b'l' | b'q'], 8) => Kind::Int64,
            ([b'L' | b'Q'], 8) => Kind::Uint64,
            ([.., b'O' | b'w' | b'u' | b's' | b'c'], _) => Kind::Objects,
            _ => Kind::Other,
        }
    }

    /// How its items are described: a format of the module `struct`.
    pub fn format(&self) -> &CStr {
        self.0.format()
    }

    pub fn len(&self) -> usize {
        self.0.len_bytes() / self.0.item_size().max(1)
    }

    /// Its items, of the type that [`Buffer::kind`] named.
    pub fn items<T: Number>(&self) -> Result<Items<'_, T>, Wrong> {
        if self.0.item_size() != size_of::<T>() {
            return Err("of another type".to_owned());
        }
        if self.0.dimensions() != 1 {
            return Err(format!("of {} dimensions, not one", self.0.dimensions()));
        }
        if !self.0.is_c_contiguous() || self.0.suboffsets().is_some() {
            return Err("not contiguous: copy it (numpy.ascontiguousarray)".to_owned());
        }
        Ok(Items {
            start: self.0.buf_ptr().cast(),
            count: self.len(),
            buffer: PhantomData,
        })
    }
}

/// The items of a buffer. They are copied out block by block, because others may write to the buffer at any time.
pub struct Items<'a, T> {
    /// Perhaps not aligned.
    start: *const T,
    count: usize,
    buffer: PhantomData<&'a Buffer>,
}

// SAFETY: items are only read, in a way that minds no writers (see `block`).
unsafe impl<T> Sync for Items<'_, T> {}

impl<T: Number> Column<T> for Items<'_, T> {
    fn rows(&self) -> usize {
        self.count
    }

    fn block<'a>(&'a self, from: usize, scratch: &'a mut Block<T>) -> &'a [T] {
        let count = self.count.saturating_sub(from).min(BLOCK_ROWS);
        if count > 0 {
            // SAFETY: the object keeps `self.count` contiguous items at `start` until the buffer is released, which
            // `self` borrows; `from + count` is no more than that, and `scratch` has room for a block. Another thread
            // may write to the items meanwhile: therefore a function of C copies them, outside of what Rust knows and
            // assumes about memory, and whatever mix of bits it finds is a number (`Number`).
            unsafe {
                libc::memcpy(
                    scratch.as_mut_ptr().cast(),
                    self.start.add(from).cast(),
                    count * size_of::<T>(),
                );
            }
        }
        scratch.get(..count).unwrap_or(&[])
    }

    fn place(&self, row: usize) -> *const T {
        self.start.wrapping_add(row)
    }
}
