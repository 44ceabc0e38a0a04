//! `Counters`: the calls that users make at high rate.

use crate::amounts::amount;
use crate::arguments;
use crate::engine::{Engine, engine_error};
use crate::errors::{closed, usage};
use crate::process::fork_epoch;
use crdtstats_core::key;
use crdtstats_engine::Addition;
use crdtstats_journal::{Side, Slot};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMapping, PyString, PyTuple};
use std::sync::{Arc, OnceLock};

/// An engine, and the process that may use it.
struct Open {
    engine: Arc<crdtstats_engine::Engine>,
    epoch: u32,
}

impl Open {
    fn engine(&self, py: Python<'_>) -> PyResult<&crdtstats_engine::Engine> {
        if fork_epoch() != self.epoch {
            return Err(closed(
                py,
                "this store was opened before fork(): open one in the child",
            ));
        }
        if self.engine.is_finished() {
            return Err(closed(py, "the store is closed; open it again"));
        }
        Ok(&self.engine)
    }
}

#[pyclass(subclass, frozen, weakref, module = "crdtstats._core")]
pub struct Counters {
    open: OnceLock<Open>,
}

impl Counters {
    fn engine(&self, py: Python<'_>) -> PyResult<&crdtstats_engine::Engine> {
        match self.open.get() {
            Some(open) => open.engine(py),
            None => Err(closed(py, "the store is not open")),
        }
    }

    fn count(
        &self,
        key: &Bound<'_, PyAny>,
        n: Option<&Bound<'_, PyAny>>,
        side: Side,
    ) -> PyResult<()> {
        let py = key.py();
        let amount = amount(n, side)?;
        let engine = self.engine(py)?;
        if engine
            .add_token(key.as_ptr() as usize, amount)
            .map_err(|error| engine_error(py, error))?
        {
            return Ok(());
        }
        let text = text_of(key)?;
        engine
            .add(text, amount)
            .map_err(|error| engine_error(py, error))?;
        if amount.by > 0 && references(key) > TEMPORARY_REFERENCES {
            keep(engine, key, text);
        }
        Ok(())
    }
}

/// Keys that `top` gives where nobody says how many.
const TOP_DEFAULT: usize = 10;

/// References to a `str` that only its caller's stack and this call hold: it will not come again.
const TEMPORARY_REFERENCES: isize = 1;

fn references(key: &Bound<'_, PyAny>) -> isize {
    // SAFETY: the object is alive, and this thread is attached to the interpreter.
    unsafe { pyo3::ffi::Py_REFCNT(key.as_ptr()) }
}

/// Remember a key's object by its address, and hold it: as long as it lives the address means nothing else.
fn keep(engine: &crdtstats_engine::Engine, key: &Bound<'_, PyAny>, text: &str) {
    // Forgetting the token is fine; forgetting that it was kept would not be.
    if let Ok(dropped) = engine.keep_token(key.as_ptr() as usize, text) {
        std::mem::forget(key.clone());
        if let Some(dropped) = dropped {
            release(key.py(), dropped);
        }
    }
}

/// Let go of a key object that [`keep`] held.
fn release(py: Python<'_>, token: usize) {
    // SAFETY: the token is the address of an object of which `keep` forgot one reference; the engine gives each
    // token back once.
    drop(unsafe { Bound::from_owned_ptr(py, token as *mut pyo3::ffi::PyObject) });
}

/// The text of a `str`, which must be valid UTF-8.
fn text_of<'a>(key: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    let Ok(text) = key.cast::<PyString>() else {
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

impl Drop for Counters {
    fn drop(&mut self) {
        if let Some(open) = self.open.get().filter(|open| open.epoch == fork_epoch()) {
            Python::attach(|py| {
                open.engine
                    .take_tokens()
                    .into_iter()
                    .for_each(|token| release(py, token))
            });
        }
    }
}

#[pymethods]
impl Counters {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Counters {
            open: OnceLock::new(),
        }
    }

    fn _attach(&self, engine: &Bound<'_, Engine>) -> PyResult<()> {
        let open = Open {
            engine: engine.get().shared(),
            epoch: fork_epoch(),
        };
        self.open
            .set(open)
            .map_err(|_| usage(engine.py(), "the store is open already"))
    }

    #[pyo3(signature = (key, n=None, /))]
    fn increment(&self, key: &Bound<'_, PyAny>, n: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.count(key, n, Side::Incr)
    }

    #[pyo3(signature = (key, n=None, /))]
    fn decrement(&self, key: &Bound<'_, PyAny>, n: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.count(key, n, Side::Decr)
    }

    fn counter(&self, key: &Bound<'_, PyAny>) -> PyResult<Counter> {
        let py = key.py();
        let text = text_of(key)?;
        let slot = self
            .engine(py)?
            .resolve(text)
            .map_err(|error| engine_error(py, error))?;
        let clean = key::data_key(text)
            .map_err(|error| engine_error(py, error.into()))?
            .into_owned();
        let Some(open) = self.open.get() else {
            return Err(closed(py, "the store is not open"));
        };
        Ok(Counter {
            open: Open {
                engine: open.engine.clone(),
                epoch: open.epoch,
            },
            slot,
            key: clean,
        })
    }

    #[pyo3(signature = (batch, amounts=None, /, *, cursor=None))]
    fn update(
        &self,
        batch: &Bound<'_, PyAny>,
        amounts: Option<&Bound<'_, PyAny>>,
        cursor: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = batch.py();
        let engine = self.engine(py)?;
        let cursor = cursor.map(arguments::cursor_move).transpose()?;
        if batch.is_instance_of::<PyString>() || batch.is_instance_of::<PyBytes>() {
            return Err(usage(
                py,
                "a batch is a mapping or an iterable of keys, not one str",
            ));
        }
        let lines = lines_of(batch, amounts)?;
        let additions = lines
            .iter()
            .map(|(key, n)| {
                Ok(Addition {
                    key: text_of(key)?,
                    amount: amount(n.as_ref(), Side::Incr)?,
                })
            })
            .collect::<PyResult<Vec<_>>>()?;
        let cursor = cursor
            .as_ref()
            .map(|(name, position)| (name.as_str(), *position));
        engine
            .add_batch(&additions, cursor)
            .map_err(|error| engine_error(py, error))
    }

    fn cursor(&self, name: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
        Ok(self
            .engine(name.py())?
            .cursor(arguments::cursor_name(name)?))
    }

    fn get(&self, key: &Bound<'_, PyAny>) -> PyResult<i128> {
        let py = key.py();
        get(py, self.engine(py)?, text_of(key)?)
    }

    #[pyo3(signature = (prefix=None, /))]
    fn total(&self, py: Python<'_>, prefix: Option<&Bound<'_, PyAny>>) -> PyResult<i128> {
        let (engine, prefix) = (self.engine(py)?, prefix_of(prefix)?);
        // Short where nobody else is in the core; who has to wait lets the others run.
        let found = match engine.try_total(prefix) {
            Ok(None) => py.detach(|| engine.total(prefix)),
            Ok(Some(total)) => Ok(total),
            Err(error) => Err(error),
        };
        found.map_err(|error| engine_error(py, error))
    }

    #[pyo3(signature = (prefix=None, /))]
    fn get_aggregated_stat(
        &self,
        py: Python<'_>,
        prefix: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<i128> {
        Ok(self.total(py, prefix)?.max(0))
    }

    #[pyo3(signature = (prefix=None, /))]
    fn children<'py>(
        &self,
        py: Python<'py>,
        prefix: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (engine, prefix) = (self.engine(py)?, prefix_of(prefix)?);
        let found = py
            .detach(|| engine.children(prefix))
            .map_err(|error| engine_error(py, error))?;
        let out = PyDict::new(py);
        for (name, total) in found {
            out.set_item(name, total)?;
        }
        Ok(out)
    }

    #[pyo3(signature = (prefix=None, n=None, /))]
    fn top(
        &self,
        py: Python<'_>,
        prefix: Option<&Bound<'_, PyAny>>,
        n: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<(String, i128)>> {
        let (engine, prefix) = (self.engine(py)?, prefix_of(prefix)?);
        let n = n.map_or(Ok(TOP_DEFAULT), arguments::count)?;
        py.detach(|| engine.top(prefix, n))
            .map_err(|error| engine_error(py, error))
    }

    #[pyo3(signature = (prefix=None, /))]
    fn items(&self, py: Python<'_>, prefix: Option<&Bound<'_, PyAny>>) -> PyResult<Items> {
        let (engine, prefix) = (self.engine(py)?, prefix_of(prefix)?);
        let items = py
            .detach(|| engine.items(prefix))
            .map_err(|error| engine_error(py, error))?;
        Ok(Items {
            items: std::sync::Mutex::new(items.into_iter()),
        })
    }

    #[staticmethod]
    #[pyo3(signature = (*parts))]
    fn key(parts: &Bound<'_, PyTuple>) -> PyResult<String> {
        let py = parts.py();
        let mut out = Vec::with_capacity(parts.len());
        for part in parts.iter() {
            out.push(if let Ok(bytes) = part.cast::<PyBytes>() {
                key::component(bytes.as_bytes())
            } else {
                key::component(text_of(&part)?.as_bytes())
            });
        }
        if out.is_empty() {
            return Err(usage(py, "a key has at least one part"));
        }
        let joined = out.join("/");
        Ok(key::data_key(&joined)
            .map_err(|error| engine_error(py, error.into()))?
            .into_owned())
    }
}

fn get(py: Python<'_>, engine: &crdtstats_engine::Engine, key: &str) -> PyResult<i128> {
    let found = match engine.try_get(key) {
        Ok(None) => py.detach(|| engine.get(key)),
        Ok(Some(value)) => Ok(value),
        Err(error) => Err(error),
    };
    found.map_err(|error| engine_error(py, error))
}

fn prefix_of<'a>(prefix: Option<&'a Bound<'_, PyAny>>) -> PyResult<&'a str> {
    prefix.map_or(Ok(""), text_of)
}

const BATCH: &str = "a batch is a mapping or an iterable of keys";

type Line<'py> = (Bound<'py, PyAny>, Option<Bound<'py, PyAny>>);

fn lines_of<'py>(
    batch: &Bound<'py, PyAny>,
    amounts: Option<&Bound<'py, PyAny>>,
) -> PyResult<Vec<Line<'py>>> {
    let py = batch.py();
    if let Some(amounts) = amounts {
        if batch.is_instance_of::<PyMapping>() {
            return Err(usage(py, "a mapping holds its amounts itself"));
        }
        let keys = arguments::iterate(batch, BATCH)?.collect::<PyResult<Vec<_>>>()?;
        let amounts = arguments::iterate(amounts, "amounts are an iterable of ints")?
            .collect::<PyResult<Vec<_>>>()?;
        if keys.len() != amounts.len() {
            return Err(usage(
                py,
                &format!("{} keys, but {} amounts", keys.len(), amounts.len()),
            ));
        }
        return Ok(keys
            .into_iter()
            .zip(amounts.into_iter().map(Some))
            .collect());
    }
    if let Ok(mapping) = batch.cast::<PyMapping>() {
        return mapping
            .items()?
            .iter()
            .map(|item| {
                let (key, n): (Bound<'py, PyAny>, Bound<'py, PyAny>) = item.extract()?;
                Ok((key, Some(n)))
            })
            .collect();
    }
    arguments::iterate(batch, BATCH)?
        .map(|key| Ok((key?, None)))
        .collect()
}

/// An iterator over (key, value).
#[pyclass(frozen, module = "crdtstats._core")]
pub struct Items {
    items: std::sync::Mutex<std::vec::IntoIter<(String, i128)>>,
}

#[pymethods]
impl Items {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self) -> Option<(String, i128)> {
        self.items
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .next()
    }
}

/// One key, resolved.
#[pyclass(frozen, module = "crdtstats._core")]
pub struct Counter {
    open: Open,
    slot: Slot,
    key: String,
}

impl Counter {
    fn count(&self, py: Python<'_>, n: Option<&Bound<'_, PyAny>>, side: Side) -> PyResult<()> {
        let amount = amount(n, side)?;
        self.open
            .engine(py)?
            .add_slot(self.slot, amount)
            .map_err(|error| engine_error(py, error))
    }
}

#[pymethods]
impl Counter {
    #[pyo3(signature = (n=None, /))]
    fn inc(&self, py: Python<'_>, n: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.count(py, n, Side::Incr)
    }

    #[pyo3(signature = (n=None, /))]
    fn dec(&self, py: Python<'_>, n: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.count(py, n, Side::Decr)
    }

    #[getter]
    fn key(&self) -> &str {
        &self.key
    }

    #[getter]
    fn value(&self, py: Python<'_>) -> PyResult<i128> {
        get(py, self.open.engine(py)?, &self.key)
    }

    fn __repr__(&self) -> String {
        format!("<Counter {:?}>", self.key)
    }
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Counters>()?;
    m.add_class::<Counter>()?;
    m.add_class::<Items>()
}
