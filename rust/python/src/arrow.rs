//! The Arrow C data interface, by hand: <https://arrow.apache.org/docs/format/CDataInterface.html>.
//!
//! Three C structures, each with a callback that releases what it points to. Here they are owned values: dropping one
//! releases it, and a structure whose callback is NULL is empty. [`import`] reads columns of others, [`text`] their
//! keys; [`export`] shows columns of ours.
//!
//! What Rust cannot check, and the interface promises: that buffers are as long as lengths and offsets say, and that
//! nobody writes to them before they are released. Everything that can be checked is.

pub mod export;
pub mod import;
mod text;

use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyCapsuleMethods};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;

pub const SCHEMA: &CStr = c"arrow_schema";
pub const ARRAY: &CStr = c"arrow_array";
pub const STREAM: &CStr = c"arrow_array_stream";

/// The type of a column.
#[repr(C)]
pub struct Schema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut Schema,
    dictionary: *mut Schema,
    release: Option<unsafe extern "C" fn(*mut Schema)>,
    private_data: *mut c_void,
}

/// A column.
#[repr(C)]
pub struct Array {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *mut *const c_void,
    children: *mut *mut Array,
    dictionary: *mut Array,
    release: Option<unsafe extern "C" fn(*mut Array)>,
    private_data: *mut c_void,
}

/// A column in chunks.
#[repr(C)]
pub struct Stream {
    get_schema: Option<unsafe extern "C" fn(*mut Stream, *mut Schema) -> c_int>,
    get_next: Option<unsafe extern "C" fn(*mut Stream, *mut Array) -> c_int>,
    get_last_error: Option<unsafe extern "C" fn(*mut Stream) -> *const c_char>,
    release: Option<unsafe extern "C" fn(*mut Stream)>,
    private_data: *mut c_void,
}

/// A structure that can be empty, which is what is left where one was moved out.
pub trait Structure: Sized {
    const NAME: &'static CStr;

    fn empty() -> Self;
    fn is_empty(&self) -> bool;

    /// Move the structure out of a capsule. In words what is wrong where that cannot be done.
    fn take(capsule: &Bound<'_, PyAny>) -> Result<Self, String> {
        let name = Self::NAME.to_string_lossy();
        let pointer = capsule
            .cast::<PyCapsule>()
            .ok()
            .and_then(|capsule| capsule.pointer_checked(Some(Self::NAME)).ok())
            .ok_or_else(|| format!("not a capsule of the name {name:?}"))?
            .cast::<Self>();
        if !pointer.is_aligned() {
            return Err(format!("a capsule {name:?} with a pointer that is none"));
        }
        // SAFETY: a capsule of this name points to such a structure (the PyCapsule interface of Arrow says so), which
        // lives as long as the capsule. It is moved out as the interface asks: what stays behind is empty, so the
        // capsule releases nothing. No other thread moves it at the same time: this one is attached.
        let taken = unsafe { pointer.replace(Self::empty()) };
        if taken.is_empty() {
            return Err(format!("a capsule {name:?} that was used before"));
        }
        Ok(taken)
    }
}

impl Structure for Schema {
    const NAME: &'static CStr = SCHEMA;

    fn empty() -> Self {
        Schema {
            format: null_mut(),
            name: null_mut(),
            metadata: null_mut(),
            flags: 0,
            n_children: 0,
            children: null_mut(),
            dictionary: null_mut(),
            release: None,
            private_data: null_mut(),
        }
    }

    fn is_empty(&self) -> bool {
        self.release.is_none()
    }
}

impl Structure for Array {
    const NAME: &'static CStr = ARRAY;

    fn empty() -> Self {
        Array {
            length: 0,
            null_count: 0,
            offset: 0,
            n_buffers: 0,
            n_children: 0,
            buffers: null_mut(),
            children: null_mut(),
            dictionary: null_mut(),
            release: None,
            private_data: null_mut(),
        }
    }

    fn is_empty(&self) -> bool {
        self.release.is_none()
    }
}

impl Structure for Stream {
    const NAME: &'static CStr = STREAM;

    fn empty() -> Self {
        Stream {
            get_schema: None,
            get_next: None,
            get_last_error: None,
            release: None,
            private_data: null_mut(),
        }
    }

    fn is_empty(&self) -> bool {
        self.release.is_none()
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: the producer's own callback, on its own structure, which was not released yet: releasing one
            // makes its callback NULL, and so does moving it.
            unsafe { release(self) }
        }
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: as for a schema.
            unsafe { release(self) }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: as for a schema.
            unsafe { release(self) }
        }
    }
}
