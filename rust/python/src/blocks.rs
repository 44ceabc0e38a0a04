//! Blocks that were built here, as Python sees them: no copy, as a large flush has tens of megabytes of them.

use crdtstats_core::effects::Flush;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::c_int;
use std::sync::Arc;

/// A block of a flush: read-only bytes through the buffer protocol.
#[pyclass(frozen, module = "crdtstats._core")]
pub struct Block {
    flush: Arc<Flush>,
    at: usize,
}

impl Block {
    /// All blocks of a flush, in their order.
    pub fn all(flush: &Arc<Flush>) -> impl Iterator<Item = Self> + '_ {
        (0..flush.blocks.len()).map(|at| Block {
            flush: Arc::clone(flush),
            at,
        })
    }

    fn bytes(&self) -> &[u8] {
        let built = self.flush.blocks.get(self.at);
        built.map_or(&[], |built| built.block.as_slice())
    }
}

#[pymethods]
impl Block {
    fn __len__(&self) -> usize {
        self.bytes().len()
    }

    fn __repr__(&self) -> String {
        format!("<block of {} bytes>", self.bytes().len())
    }

    /// # Safety
    /// Called by the interpreter alone, with room for a view.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let bytes = slf.get().bytes();
        // SAFETY: what the view leads to belongs to the object, which never changes and lives as long as the view holds
        // it. The call refuses a null view, and those who ask to write.
        let filled = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                bytes.as_ptr().cast_mut().cast(),
                bytes.len().cast_signed(),
                1,
                flags,
            )
        };
        if filled < 0 {
            return Err(PyErr::fetch(slf.py()));
        }
        Ok(())
    }
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Block>()
}
