//! `Ids`: the ids of keys in one open store, as a column that others read without a copy.

use crate::arrow::export::{self, Show, Shown};
use crdtstats_engine::Engine;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::ffi::{CStr, c_int};
use std::mem::size_of;
use std::sync::{Arc, Weak};

/// uint32, in the words of the buffer protocol and of Arrow alike.
const FORMAT: &CStr = c"I";

struct Column(Vec<u32>);

// SAFETY: the one buffer is that of the vector, which nobody can change.
unsafe impl Show for Column {
    fn show(&self) -> Shown {
        Shown {
            name: c"id",
            format: FORMAT,
            length: self.0.len(),
            buffers: vec![self.0.as_ptr().cast()],
            children: Vec::new(),
        }
    }
}

/// Ids of keys, valid for the store that gave them.
#[pyclass(frozen, module = "crdtstats._core")]
pub struct Ids {
    column: Arc<Column>,
    store: Weak<Engine>,
    /// What a buffer's view points to.
    shape: [ffi::Py_ssize_t; 1],
    strides: [ffi::Py_ssize_t; 1],
}

impl Ids {
    pub fn new(engine: &Arc<Engine>, ids: Vec<u32>) -> Self {
        Ids {
            shape: [ids.len().cast_signed()],
            strides: [size_of::<u32>().cast_signed()],
            column: Arc::new(Column(ids)),
            store: Arc::downgrade(engine),
        }
    }

    /// Are they of this store? No other store can be mistaken for it: its address is not used again before these ids
    /// are gone.
    pub fn is_of(&self, engine: &Arc<Engine>) -> bool {
        std::ptr::eq(self.store.as_ptr(), Arc::as_ptr(engine))
    }

    pub fn as_slice(&self) -> &[u32] {
        &self.column.0
    }
}

#[pymethods]
impl Ids {
    fn __len__(&self) -> usize {
        self.column.0.len()
    }

    fn __repr__(&self) -> String {
        format!("<{} ids>", self.column.0.len())
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        export::schema(py, &self.column)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        let _ = requested_schema; // there is one type only, and the interface allows to say so
        export::array(py, &self.column)
    }

    /// # Safety
    /// Called by the interpreter alone, with room for a view.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no room for a view"));
        }
        let asks_for = |flag: c_int| flags & flag == flag;
        if asks_for(ffi::PyBUF_WRITABLE) {
            return Err(PyBufferError::new_err("ids are read-only"));
        }
        let ids = slf.get();
        let bytes = size_of::<u32>() * ids.column.0.len();
        // SAFETY: the interpreter gives room for a view. What the view points to belongs to the object, which never
        // changes and lives as long as the view holds it (`obj`); readers do not write through a read-only view, nor
        // through `format`, `shape` and `strides`, which are `*mut` for no other reason than the C type.
        unsafe {
            (*view).buf = ids.column.0.as_ptr().cast_mut().cast();
            (*view).len = bytes.cast_signed();
            (*view).itemsize = size_of::<u32>().cast_signed();
            (*view).readonly = 1;
            (*view).ndim = 1;
            (*view).format = match asks_for(ffi::PyBUF_FORMAT) {
                true => FORMAT.as_ptr().cast_mut(),
                false => std::ptr::null_mut(),
            };
            (*view).shape = match asks_for(ffi::PyBUF_ND) {
                true => ids.shape.as_ptr().cast_mut(),
                false => std::ptr::null_mut(),
            };
            (*view).strides = match asks_for(ffi::PyBUF_STRIDES) {
                true => ids.strides.as_ptr().cast_mut(),
                false => std::ptr::null_mut(),
            };
            (*view).suboffsets = std::ptr::null_mut();
            (*view).internal = std::ptr::null_mut();
            (*view).obj = slf.into_ptr();
        }
        Ok(())
    }
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Ids>()
}
