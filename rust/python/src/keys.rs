//! Keys as Python objects: their texts, and the store's hold of those that come again and again.

use crate::errors::usage;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// References to a `str` that only its caller's stack and this call hold: it will not come again.
const TEMPORARY_REFERENCES: isize = 1;

/// The text of a `str`, which must be valid UTF-8.
pub fn text_of<'a>(key: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    // Nearly always exactly a str, which one comparison tells; the other check is a call.
    let text = match key.cast_exact::<PyString>() {
        Ok(text) => Ok(text),
        Err(_) => key.cast::<PyString>(),
    };
    let Ok(text) = text else {
        let kind = key.get_type().name()?;
        return Err(usage(key.py(), &format!("a key is a str, not {kind}")));
    };
    text.to_str().map_err(|_| {
        usage(
            key.py(),
            "a key is valid UTF-8: no lone surrogates; stats.key(*parts) builds one from any name",
        )
    })
}

/// What stands for a key in the engine as long as the object lives.
#[inline]
pub fn token_of(key: &Bound<'_, PyAny>) -> usize {
    key.as_ptr() as usize
}

/// Whether somebody else holds the object too, so that it may come again.
pub fn may_come_again(key: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the object is alive, and this thread is attached to the interpreter.
    unsafe { ffi::Py_REFCNT(key.as_ptr()) > TEMPORARY_REFERENCES }
}

/// Hold the object of a token that the engine keeps.
///
/// # Safety
/// The token is the address of a living object.
pub unsafe fn hold(_py: Python<'_>, token: usize) {
    // SAFETY: the caller's promise.
    unsafe { ffi::Py_INCREF(token as *mut ffi::PyObject) };
}

/// Let go of the object of a token that the engine dropped.
///
/// # Safety
/// [`hold`] was called for the token, and this is the one call that undoes it.
pub unsafe fn let_go(_py: Python<'_>, token: usize) {
    // SAFETY: the caller's promise.
    unsafe { ffi::Py_DECREF(token as *mut ffi::PyObject) };
}

/// What a `str` needs beside its text: a short text ends in the second cache line or before.
const SECOND_LINE: usize = 64;

/// Ask the processor to fetch a short `str`.
#[inline]
pub fn prefetch(token: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect on memory, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::with_exposed_provenance(token));
        let second = token.wrapping_add(SECOND_LINE);
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::with_exposed_provenance(second));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = token;
}
