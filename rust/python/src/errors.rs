//! Errors of the core as the classes of `crdtstats.errors`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

static CLASSES: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

fn raise(py: Python<'_>, class: &str, message: &str) -> PyErr {
    let build = || -> PyResult<PyErr> {
        let module =
            CLASSES.get_or_try_init(py, || py.import("crdtstats.errors").map(Bound::unbind))?;
        let class = module.bind(py).getattr(class)?.cast_into::<PyType>()?;
        Ok(PyErr::from_type(class, (message.to_owned(),)))
    };
    build().unwrap_or_else(|error| error)
}

pub fn usage(py: Python<'_>, message: &str) -> PyErr {
    raise(py, "UsageError", message)
}

pub fn remote(py: Python<'_>, message: &str) -> PyErr {
    raise(py, "RemoteError", message)
}

pub fn unavailable(py: Python<'_>, message: &str) -> PyErr {
    raise(py, "UnavailableError", message)
}

pub fn data(py: Python<'_>, message: &str) -> PyErr {
    raise(py, "DataError", message)
}

pub fn overflow(py: Python<'_>, message: &str) -> PyErr {
    raise(py, "CounterOverflowError", message)
}

pub fn closed(py: Python<'_>, message: &str) -> PyErr {
    raise(py, "ClosedError", message)
}

pub fn internal(py: Python<'_>, message: &str) -> PyErr {
    raise(py, "InternalError", message)
}
