//! The cipher of libp2p's private networks: one direction of one connection.

use crate::errors::{internal, usage};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use std::sync::{Mutex, PoisonError};

/// A keystream that goes on where the call before ended.
#[pyclass(frozen, name = "XSalsa20", module = "crdtstats._core")]
struct Keystream(Mutex<XSalsa20>);

#[pymethods]
impl Keystream {
    #[new]
    fn new(py: Python<'_>, key: &[u8], nonce: &[u8]) -> PyResult<Self> {
        XSalsa20::new_from_slices(key, nonce)
            .map(|cipher| Self(Mutex::new(cipher)))
            .map_err(|_| {
                let lengths = format!("{} and {}", key.len(), nonce.len());
                usage(
                    py,
                    &format!("a key has 32 bytes and a nonce 24, not {lengths}"),
                )
            })
    }

    fn apply<'py>(&self, py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        PyBytes::new_with(py, data.len(), |out| {
            out.copy_from_slice(data);
            // A panic cannot have left it half-way: between two blocks its state is whole.
            let mut cipher = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            cipher
                .try_apply_keystream(out)
                .map_err(|_| internal(py, "the keystream of a connection is used up"))
        })
    }
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Keystream>()
}
