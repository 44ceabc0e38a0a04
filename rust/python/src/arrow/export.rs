//! Columns of ours, shown without a copy: each structure holds a share of what keeps its memory.

use super::{Array, Schema, Stream, Structure};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::any::Any;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::Arc;

/// What keeps the memory of buffers: it neither moves nor changes as long as a share of it lives.
pub type Keeper = Arc<dyn Any + Send + Sync>;

/// A column in our memory, with the name and the type that it is shown under.
pub struct Shown {
    pub name: &'static CStr,
    pub format: &'static CStr,
    pub length: usize,
    /// The buffers of the type after the validity bitmap, which is always left out: there are no nulls.
    pub buffers: Vec<*const c_void>,
    pub children: Vec<Shown>,
}

/// What shows itself as a column.
///
/// # Safety
/// The buffers of what [`Show::show`] gives belong to `self`, are as long as its types and lengths say, and neither
/// move nor change as long as `self` lives.
pub unsafe trait Show: Any + Send + Sync {
    /// The column.
    fn show(&self) -> Shown;
}

/// The pair of capsules that `__arrow_c_array__` gives.
pub fn array<'py>(
    py: Python<'py>,
    column: &Arc<impl Show>,
) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
    let shown = column.show();
    let array = array_of(&shown, &(column.clone() as Keeper));
    Ok((schema(py, column)?, capsule(py, array)?))
}

/// The capsule that `__arrow_c_schema__` gives.
pub fn schema<'py>(py: Python<'py>, column: &Arc<impl Show>) -> PyResult<Bound<'py, PyCapsule>> {
    capsule(py, schema_of(&column.show()))
}

/// The capsule that `__arrow_c_stream__` gives: a stream of one chunk.
pub fn stream<'py, T: Show>(py: Python<'py>, column: &Arc<T>) -> PyResult<Bound<'py, PyCapsule>> {
    let source = Box::new(Source {
        column: column.clone(),
        is_done: false,
    });
    let stream = Stream {
        get_schema: Some(get_schema::<T>),
        get_next: Some(get_next::<T>),
        get_last_error: Some(get_last_error),
        release: Some(release_stream::<T>),
        private_data: Box::into_raw(source).cast(),
    };
    capsule(py, stream)
}

/// A structure that this file has filled.
#[repr(transparent)]
struct Ours<T>(#[allow(dead_code, reason = "read through the capsule")] T);

// SAFETY: what our structures point to is their own, or kept by a `Keeper`: both may go to another thread.
unsafe impl<T> Send for Ours<T> {}

/// A capsule that releases the structure when nobody has moved it out. `Ours` is transparent: it points to a `T`.
fn capsule<T: Structure + 'static>(py: Python<'_>, structure: T) -> PyResult<Bound<'_, PyCapsule>> {
    PyCapsule::new_with_value(py, Ours(structure), T::NAME)
}

/// What a schema or an array of ours owns.
struct Owned<T> {
    _keeper: Option<Keeper>,
    buffers: Vec<*const c_void>,
    children: Vec<*mut T>,
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        for child in self.children.drain(..) {
            // SAFETY: a box of ours, freed here only. A consumer may have moved its contents out: then it is empty,
            // and dropping it releases nothing.
            drop(unsafe { Box::from_raw(child) });
        }
    }
}

fn schema_of(shown: &Shown) -> Schema {
    let children = shown.children.iter().map(schema_of);
    let children = children.map(|child| Box::into_raw(Box::new(child)));
    let mut owned = Box::new(Owned::<Schema> {
        _keeper: None,
        buffers: Vec::new(),
        children: children.collect(),
    });
    Schema {
        format: shown.format.as_ptr(),
        name: shown.name.as_ptr(),
        n_children: owned.children.len() as i64,
        children: owned.children.as_mut_ptr(),
        release: Some(release_schema),
        private_data: Box::into_raw(owned).cast(),
        metadata: null(),
        flags: 0, // not nullable
        dictionary: null_mut(),
    }
}

fn array_of(shown: &Shown, keeper: &Keeper) -> Array {
    let children = shown.children.iter().map(|child| array_of(child, keeper));
    let children = children.map(|child| Box::into_raw(Box::new(child)));
    let mut owned = Box::new(Owned::<Array> {
        _keeper: Some(keeper.clone()),
        buffers: std::iter::once(null())
            .chain(shown.buffers.iter().copied())
            .collect(),
        children: children.collect(),
    });
    Array {
        length: shown.length as i64,
        null_count: 0,
        offset: 0,
        n_buffers: owned.buffers.len() as i64,
        n_children: owned.children.len() as i64,
        buffers: owned.buffers.as_mut_ptr(),
        children: owned.children.as_mut_ptr(),
        release: Some(release_array),
        private_data: Box::into_raw(owned).cast(),
        dictionary: null_mut(),
    }
}

unsafe extern "C" fn release_schema(schema: *mut Schema) {
    // SAFETY: called once, on a structure that `schema_of` filled, wherever it was moved to: releasing it (here) and
    // moving it make the callback of what stays behind NULL.
    unsafe {
        drop(Box::from_raw(
            (*schema).private_data.cast::<Owned<Schema>>(),
        ));
        (*schema).release = None;
    }
}

unsafe extern "C" fn release_array(array: *mut Array) {
    // SAFETY: as for a schema, of `array_of`.
    unsafe {
        drop(Box::from_raw((*array).private_data.cast::<Owned<Array>>()));
        (*array).release = None;
    }
}

/// What a stream of ours owns.
struct Source<T> {
    column: Arc<T>,
    is_done: bool,
}

unsafe extern "C" fn get_schema<T: Show>(stream: *mut Stream, out: *mut Schema) -> c_int {
    // SAFETY: a stream that `stream` filled and nobody has released; `out` is room for a structure, and what is in it
    // means nothing (so it is not dropped). Nobody calls two of a stream's callbacks at the same time.
    unsafe {
        let source = &*(*stream).private_data.cast::<Source<T>>();
        out.write(schema_of(&source.column.show()));
    }
    0
}

unsafe extern "C" fn get_next<T: Show>(stream: *mut Stream, out: *mut Array) -> c_int {
    // SAFETY: as for the schema.
    unsafe {
        let source = &mut *(*stream).private_data.cast::<Source<T>>();
        let next = if source.is_done {
            Array::empty()
        } else {
            array_of(&source.column.show(), &(source.column.clone() as Keeper))
        };
        source.is_done = true;
        out.write(next);
    }
    0
}

/// Nothing ever fails.
unsafe extern "C" fn get_last_error(_stream: *mut Stream) -> *const c_char {
    null()
}

unsafe extern "C" fn release_stream<T>(stream: *mut Stream) {
    // SAFETY: as for a schema, of `stream`.
    unsafe {
        drop(Box::from_raw((*stream).private_data.cast::<Source<T>>()));
        (*stream).release = None;
    }
}
