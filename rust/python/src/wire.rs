//! Bytes of the wire: CIDs, keys, identities.

use crate::errors::{remote, usage};
use crdtstats_core::cid::Cid;
use crdtstats_core::key;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// An Ed25519 private key: who a replica is.
#[pyclass(frozen, module = "crdtstats._core")]
pub struct Identity {
    inner: crdtstats_core::identity::Identity,
}

impl Identity {
    pub fn signer(&self) -> &crdtstats_core::identity::Identity {
        &self.inner
    }
}

#[pymethods]
impl Identity {
    #[new]
    fn new(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        let inner = crdtstats_core::identity::Identity::from_libp2p(data)
            .map_err(|error| usage(py, &error.to_string()))?;
        Ok(Identity { inner })
    }

    /// A new key, from the operating system's randomness.
    #[staticmethod]
    fn generate(py: Python<'_>) -> PyResult<Self> {
        let seed: [u8; 32] = py.import("os")?.call_method1("urandom", (32,))?.extract()?;
        Ok(Identity {
            inner: crdtstats_core::identity::Identity::from_seed(seed),
        })
    }

    #[getter]
    fn peer_id(&self) -> String {
        self.inner.peer_id().to_string()
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.to_libp2p())
    }

    fn sign<'py>(&self, py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.sign(data))
    }
}

#[pyfunction]
fn cid_of<'py>(py: Python<'py>, prefix: &[u8], block: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let cid = Cid::from_prefix(prefix, block).map_err(|error| remote(py, &error.to_string()))?;
    Ok(PyBytes::new(py, cid.as_bytes()))
}

#[pyfunction]
fn check_block(py: Python<'_>, cid: &[u8], block: &[u8]) -> PyResult<()> {
    Cid::from_bytes(cid)
        .and_then(|cid| cid.check(block))
        .map_err(|error| remote(py, &error.to_string()))
}

#[pyfunction]
fn clean_key(text: &str) -> String {
    key::clean(text).into_owned()
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Identity>()?;
    m.add_function(wrap_pyfunction!(cid_of, m)?)?;
    m.add_function(wrap_pyfunction!(check_block, m)?)?;
    m.add_function(wrap_pyfunction!(clean_key, m)?)
}
