//! Arguments of users' calls other than keys and amounts: what is wrong is a `UsageError`, whatever its type.

use crate::errors::usage;
use pyo3::Borrowed;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyIterator, PyString, PyTuple};

/// The name of a cursor.
pub fn cursor_name<'a>(name: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    let text = name
        .cast::<PyString>()
        .ok()
        .and_then(|name| name.to_str().ok());
    text.ok_or_else(|| {
        usage(
            name.py(),
            "a cursor's name is a str of valid UTF-8: no lone surrogates",
        )
    })
}

/// The name and the position of a cursor.
pub fn cursor_move(cursor: &Bound<'_, PyAny>) -> PyResult<(String, u64)> {
    let wrong = || usage(cursor.py(), "a cursor is a tuple (name, position)");
    let pair = cursor.cast::<PyTuple>().map_err(|_| wrong())?;
    let (name, position): (Bound<'_, PyAny>, Bound<'_, PyAny>) =
        pair.extract().map_err(|_| wrong())?;
    let position = unsigned(&position).ok_or_else(|| {
        usage(
            cursor.py(),
            "a cursor's position is an int from 0 to 2**64 - 1",
        )
    })?;
    Ok((cursor_name(&name)?.to_owned(), position))
}

/// How many keys to give; what is beyond the address space is all of them.
pub fn count(n: &Bound<'_, PyAny>) -> PyResult<usize> {
    let wrong = || usage(n.py(), "how many is an int of 0 or more");
    if is_int(n) && n.gt(u64::MAX)? {
        return Ok(usize::MAX);
    }
    let n = unsigned(n).ok_or_else(wrong)?;
    Ok(usize::try_from(n).unwrap_or(usize::MAX))
}

/// True or False, and nothing that is merely like them.
pub struct Switch(pub bool);

impl<'a, 'py> FromPyObject<'a, 'py> for Switch {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match value.cast::<PyBool>() {
            Ok(value) => Ok(Switch(value.is_true())),
            Err(_) => Err(usage(value.py(), "a switch is True or False")),
        }
    }
}

/// An iterator; errors of the iterable's own stay what they are.
pub fn iterate<'py>(value: &Bound<'py, PyAny>, what: &str) -> PyResult<Bound<'py, PyIterator>> {
    if !value.hasattr("__iter__")? && !value.hasattr("__getitem__")? {
        let kind = value.get_type().name()?;
        return Err(usage(value.py(), &format!("{what}, not {kind}")));
    }
    value.try_iter()
}

fn is_int(value: &Bound<'_, PyAny>) -> bool {
    value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>()
}

fn unsigned(value: &Bound<'_, PyAny>) -> Option<u64> {
    is_int(value).then(|| value.extract().ok()).flatten()
}
