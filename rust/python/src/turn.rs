//! Whose turn it is to count: whoever holds the interpreter lock.

use crdtstats_engine::Turn;
use pyo3::prelude::*;

/// The turn of a thread that is attached to the interpreter. It cannot be taken along into `Python::detach`.
#[cfg(not(Py_GIL_DISABLED))]
#[inline]
pub fn turn(_py: Python<'_>) -> Option<Turn<'_>> {
    // SAFETY: the interpreter lock is held for as long as the token's lifetime says, by one thread at a time, and its
    // handing over makes stores visible. A `Turn` is not `Send`, and `detach` takes nothing that is not.
    Some(unsafe { Turn::assume() })
}

/// Without an interpreter lock there are no turns: every thread takes the lock.
#[cfg(Py_GIL_DISABLED)]
#[inline]
pub fn turn(_py: Python<'_>) -> Option<Turn<'_>> {
    None
}
