//! The objects of a list, where they lie.
//!
//! The stable ABI asks for a call for each object, which is a fifth of the time of a hot batch. Every CPython with an
//! interpreter lock keeps them in one array, whose address stands behind reference count, type and length. Whether
//! this interpreter does is looked at once, on a list of known objects; else the calls are made.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::borrow::Cow;
use std::sync::OnceLock;

const WORD: usize = size_of::<usize>();
/// Where the address of the array is, in a list.
const ARRAY_AT: usize = 3 * WORD;
/// Bytes of a list: reference count, type, length, array, room in the array.
const LIST_BYTES: usize = 5 * WORD;
/// No array is below it: a number there is a length.
const ADDRESS_MIN: usize = 1 << 16;

static LIES_AS_KNOWN: OnceLock<bool> = OnceLock::new();

/// The addresses of a list's objects, as long as no Python code runs. Cost: none where they lie as known.
pub fn addresses<'a>(list: &'a Bound<'_, PyList>) -> Cow<'a, [usize]> {
    let len = list.len();
    if len == 0 {
        return Cow::Borrowed(&[]);
    }
    if *LIES_AS_KNOWN.get_or_init(|| lies_as_known(list.py()).unwrap_or(false)) {
        // SAFETY: that was looked at; there are `len` objects, and the list changes in Python code alone.
        return Cow::Borrowed(unsafe { std::slice::from_raw_parts(array_of(list), len) });
    }
    Cow::Owned(by_calls(list))
}

fn by_calls(list: &Bound<'_, PyList>) -> Vec<usize> {
    let len = isize::try_from(list.len()).unwrap_or(0);
    // SAFETY: the positions are inside, and nobody changes the list: no Python code runs here.
    let object = |n| unsafe { ffi::PyList_GetItem(list.as_ptr(), n) } as usize;
    (0..len).map(object).collect()
}

/// What stands where the address of the array should.
///
/// # Safety
/// A list has [`LIST_BYTES`].
unsafe fn array_of(list: &Bound<'_, PyList>) -> *const usize {
    // SAFETY: inside the list, and aligned as its words are.
    unsafe {
        list.as_ptr()
            .byte_add(ARRAY_AT)
            .cast::<*const usize>()
            .read()
    }
}

fn lies_as_known(py: Python<'_>) -> PyResult<bool> {
    let class = py.get_type::<PyList>();
    if cfg!(Py_GIL_DISABLED) || class.getattr("__basicsize__")?.extract::<usize>()? != LIST_BYTES {
        return Ok(false);
    }
    let known = PyList::new(py, (0..5).map(|_| PyList::empty(py)))?;
    // SAFETY: the size was looked at.
    let array = unsafe { array_of(&known) };
    if array.addr() < ADDRESS_MIN || !array.addr().is_multiple_of(WORD) {
        return Ok(false);
    }
    // SAFETY: an address, in a list of this size the only one beside its type's.
    let found = unsafe { std::slice::from_raw_parts(array, known.len()) };
    Ok(found == by_calls(&known))
}
