//! Keys as Python objects: their texts, and the store's hold of those that come again and again.

use crate::errors::usage;
use crate::turn::turn;
use crdtstats_engine::{Engine, Token};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::time::Duration;

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

/// Lines of tokens that are looked over for each one that is kept, so that those of dead objects do not gather.
const LINES_LOOKED_OVER: usize = 1;

/// Hold the object of a key whose token the engine has just kept, and let go of others for it.
#[inline]
pub fn note_kept(py: Python<'_>, engine: &Engine, key: &Bound<'_, PyAny>, token: Token) {
    let Token::Kept(dropped) = token else {
        return;
    };
    // SAFETY: the key lives; what is dropped was held when it was kept.
    unsafe {
        hold(py, token_of(key));
        dropped.into_iter().for_each(|token| let_go(py, token));
    }
    let_go_of_dead(py, engine, LINES_LOOKED_OVER);
}

/// Let go of objects that nobody else holds any more, among the next lines of tokens.
pub fn let_go_of_dead(py: Python<'_>, engine: &Engine, lines: usize) {
    let Some(turn) = turn(py) else {
        return;
    };
    // SAFETY: what is kept is held, and this thread is attached to the interpreter.
    let is_needed = |token: usize| unsafe { ffi::Py_REFCNT(token as *mut ffi::PyObject) > 1 };
    let mut dropped = Vec::new();
    engine.sweep_tokens(turn, lines, is_needed, &mut dropped);
    // SAFETY: each was held when it was kept, and the engine gives it back once.
    unsafe { dropped.into_iter().for_each(|token| let_go(py, token)) };
}

/// Between two slices others get the interpreter: who waits for it needs a moment to take it.
const PAUSE: Duration = Duration::from_micros(50);

/// As [`let_go_of_dead`], of a part of all, where nobody waits.
pub fn let_go_of_some_dead(py: Python<'_>, engine: &Engine) {
    for _ in 0..turn(py).map_or(0, |turn| engine.token_sweeps(turn)) {
        let_go_of_dead(py, engine, usize::MAX);
        py.detach(|| std::thread::sleep(PAUSE));
    }
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
