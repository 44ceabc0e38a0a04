//! Large copies into Python's memory that hold nobody up.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// `bytes` objects with these contents. They are made one by one, which is quick, and filled while other threads may
/// run: copying takes a thousand times as long.
pub fn copies(py: Python<'_>, sources: &[&[u8]]) -> PyResult<Vec<Py<PyBytes>>> {
    let (mut made, mut places) = (Vec::with_capacity(sources.len()), Vec::new());
    for source in sources {
        // SAFETY: attached; null asks for an object without contents, of which nobody else knows yet.
        let (object, place) = unsafe {
            let len = ffi::Py_ssize_t::try_from(source.len())?;
            let object = ffi::PyBytes_FromStringAndSize(std::ptr::null(), len);
            let object = Bound::from_owned_ptr_or_err(py, object)?;
            let place = ffi::PyBytes_AsString(object.as_ptr());
            (object.cast_into_unchecked::<PyBytes>(), Place(place.cast()))
        };
        made.push(object.unbind());
        places.push(place);
    }
    py.detach(|| {
        for (place, source) in places.iter().zip(sources) {
            populate(place.0, source.len());
            // SAFETY: so many bytes were asked for; the object is in `made`, and nobody else has it.
            unsafe { std::ptr::copy_nonoverlapping(source.as_ptr(), place.0, source.len()) };
        }
    });
    Ok(made)
}

/// Have the system give the memory of so many bytes at once: each page for itself is a fault, which costs as much as
/// filling it. Where it cannot, that is what happens.
fn populate(place: *mut u8, bytes: usize) {
    #[cfg(target_os = "linux")]
    {
        const PAGE_BYTES: usize = 4096; // larger ones make the call fail, which changes nothing
        let inside = place.align_offset(PAGE_BYTES);
        let whole = bytes.saturating_sub(inside) / PAGE_BYTES * PAGE_BYTES;
        if whole > 0 {
            // SAFETY: pages that lie in the object alone; their contents stay as they are.
            unsafe {
                libc::madvise(
                    place.wrapping_add(inside).cast(),
                    whole,
                    libc::MADV_POPULATE_WRITE,
                )
            };
        }
    }
}

/// Where the contents of a new object go.
struct Place(*mut u8);

// SAFETY: it leads to memory that nobody else uses until it was filled.
unsafe impl Send for Place {}
// SAFETY: as above.
unsafe impl Sync for Place {}
