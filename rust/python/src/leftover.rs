//! `Leftover`: the journal of a dead process, which an open takes over.

use crate::engine::journal_error;
use crdtstats_journal::leftovers as find_leftovers;
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The journal of a dead process, locked.
#[pyclass(frozen, module = "crdtstats._core")]
pub struct Leftover {
    pub(crate) inner: Mutex<Option<crdtstats_journal::Leftover>>,
    #[pyo3(get)]
    replica: String,
    #[pyo3(get)]
    generation: String,
}

#[pymethods]
impl Leftover {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let leftover = py
            .detach(|| crdtstats_journal::Leftover::open(&path))
            .map_err(|error| journal_error(py, error))?;
        let (replica, generation) = (
            leftover.replica().to_owned(),
            leftover.generation().to_string(),
        );
        Ok(Leftover {
            inner: Mutex::new(Some(leftover)),
            replica,
            generation,
        })
    }

    /// Remove the file: everything in it is durable elsewhere.
    fn remove(&self, py: Python<'_>) -> PyResult<()> {
        let leftover = self
            .inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        leftover
            .map_or(Ok(()), |leftover| py.detach(|| leftover.remove()))
            .map_err(|error| journal_error(py, error))
    }

    /// Let go of it; the file stays.
    fn close(&self) {
        drop(
            self.inner
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }
}

/// Paths of journals whose makers are dead, sorted.
#[pyfunction]
fn leftovers(py: Python<'_>, journal_dir: PathBuf) -> PyResult<Vec<PathBuf>> {
    py.detach(|| find_leftovers(&journal_dir))
        .map_err(|error| journal_error(py, error))
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Leftover>()?;
    m.add_function(wrap_pyfunction!(leftovers, m)?)
}
