//! `Counters`: the calls that users make at high rate. The way into the five hottest of them is in `hot`.

use crate::amounts::{Total, amount};
use crate::arguments::{self, Switch};
use crate::batches;
use crate::columns;
use crate::engine::{Engine, engine_error};
use crate::errors::{closed, internal, usage};
use crate::hot;
use crate::ids::Ids;
use crate::keys::{let_go, may_come_again, note_kept, prefetch, text_of, token_of};
use crate::process::fork_epoch;
use crate::table::Table;
use crate::turn::turn;
use crdtstats_core::key;
use crdtstats_engine::{Amount, EngineError, Turn};
use crdtstats_journal::{Side, Slot};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple, PyType};
use std::sync::{Arc, OnceLock};

/// How many keys `top` gives where nobody says.
const TOP_DEFAULT: usize = 10;

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

    /// As [`Counters::engine`], to be shared.
    fn shared(&self, py: Python<'_>) -> PyResult<&Arc<crdtstats_engine::Engine>> {
        self.engine(py)?;
        let open = self.open.get();
        open.map(|open| &open.engine)
            .ok_or_else(|| closed(py, "the store is not open"))
    }

    /// Count on a key.
    #[inline]
    pub fn count(
        &self,
        key: &Bound<'_, PyAny>,
        n: Option<&Bound<'_, PyAny>>,
        side: Side,
    ) -> PyResult<()> {
        let py = key.py();
        let amount = match n {
            None => Amount { side, by: 1 },
            n => amount(n, side)?,
        };
        // A key that was seen before; whatever is wrong is found out again on the other way.
        if let (Some(open), Some(turn)) = (self.open.get(), turn(py))
            && fork_epoch() == open.epoch
            && open.engine.add_token(turn, token_of(key), amount)
        {
            return Ok(());
        }
        self.count_by_text(key, amount)
    }

    #[inline(never)]
    fn count_by_text(&self, key: &Bound<'_, PyAny>, amount: Amount) -> PyResult<()> {
        let py = key.py();
        prefetch(token_of(key));
        let engine = self.engine(py)?;
        let text = text_of(key)?;
        let turn = turn(py);
        let token = (turn.is_some() && may_come_again(key)).then(|| token_of(key));
        let kept = engine
            .add(turn, text, amount, token)
            .map_err(|error| engine_error(py, error))?;
        note_kept(py, engine, key, kept);
        Ok(())
    }

    /// The value of a key that was seen before, where it is quickly known and no large number.
    #[inline]
    pub fn get_seen(&self, key: &Bound<'_, PyAny>) -> Option<i64> {
        let py = key.py();
        let open = self.open.get().filter(|open| open.epoch == fork_epoch())?;
        let (incr, decr) = open.engine.get_token(turn(py)?, token_of(key))?;
        // Both are below 2⁶³, so their difference fits.
        let (incr, decr) = (i64::try_from(incr).ok()?, i64::try_from(decr).ok()?);
        Some(incr.wrapping_sub(decr))
    }

    /// The value of a key.
    #[inline(never)]
    pub fn get(&self, key: &Bound<'_, PyAny>) -> PyResult<i128> {
        let py = key.py();
        prefetch(token_of(key));
        let engine = self.engine(py)?;
        let text = text_of(key)?;
        let token = may_come_again(key).then(|| token_of(key));
        let (value, kept) = read(py, |turn| engine.get(turn, text, turn.and(token)))?;
        note_kept(py, engine, key, kept);
        Ok(value)
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        if let Some(open) = self.open.get().filter(|open| open.epoch == fork_epoch()) {
            Python::attach(|py| {
                for token in open.engine.take_tokens() {
                    // SAFETY: it was held when it was kept, and the engine gives it back once.
                    unsafe { let_go(py, token) };
                }
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

    #[classmethod]
    #[pyo3(signature = (**_kwargs))]
    fn __init_subclass__(
        cls: &Bound<'_, PyType>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        hot::inherit(cls)
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

    fn counter(&self, key: &Bound<'_, PyAny>) -> PyResult<Counter> {
        let py = key.py();
        let text = text_of(key)?;
        let slot = self
            .engine(py)?
            .resolve(turn(py), text)
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
        let engine = self.shared(batch.py())?;
        if columns::count(engine, batch, amounts, cursor)? {
            return Ok(());
        }
        batches::count(engine, batch, amounts, cursor)
    }

    fn ids<'py>(&self, keys: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Ids>> {
        columns::ids(self.shared(keys.py())?, keys)
    }

    fn cursor(&self, name: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
        Ok(self
            .engine(name.py())?
            .cursor(arguments::cursor_name(name)?))
    }

    #[pyo3(signature = (prefix=None, /))]
    fn total(&self, py: Python<'_>, prefix: Option<&Bound<'_, PyAny>>) -> PyResult<Total> {
        let (engine, prefix) = (self.engine(py)?, prefix_of(prefix)?);
        read(py, |turn| engine.total(turn, prefix)).map(Total)
    }

    #[pyo3(signature = (prefix=None, /))]
    fn get_aggregated_stat(
        &self,
        py: Python<'_>,
        prefix: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Total> {
        Ok(Total(self.total(py, prefix)?.0.max(0)))
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
            out.set_item(name, Total(total))?;
        }
        Ok(out)
    }

    #[pyo3(signature = (prefix=None, n=None, /))]
    fn top(
        &self,
        py: Python<'_>,
        prefix: Option<&Bound<'_, PyAny>>,
        n: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<(String, Total)>> {
        let (engine, prefix) = (self.engine(py)?, prefix_of(prefix)?);
        let n = n.map_or(Ok(TOP_DEFAULT), arguments::count)?;
        let found = py
            .detach(|| engine.top(prefix, n))
            .map_err(|error| engine_error(py, error))?;
        Ok(found
            .into_iter()
            .map(|(key, value)| (key, Total(value)))
            .collect())
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

    #[pyo3(
        signature = (prefix=None, /, *, int64=Switch(false)),
        text_signature = "(self, prefix=None, /, *, int64=False)"
    )]
    fn to_arrow(
        &self,
        py: Python<'_>,
        prefix: Option<&Bound<'_, PyAny>>,
        int64: Switch,
    ) -> PyResult<Table> {
        let (engine, prefix) = (self.engine(py)?, prefix_of(prefix)?);
        py.detach(|| engine.table(prefix, int64.0))
            .map(Table::new)
            .map_err(|error| engine_error(py, error))
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

/// Reads are short where nobody else is in the core and little was counted; who has to wait lets the others run.
fn read<T: Send>(
    py: Python<'_>,
    read: impl Fn(Option<Turn<'_>>) -> Result<Option<T>, EngineError> + Sync + Send,
) -> PyResult<T> {
    let turn = turn(py);
    let found = match read(turn) {
        Ok(None) => py.detach(|| read(None)),
        found => found,
    };
    let found = found.map_err(|error| engine_error(py, error))?;
    found.ok_or_else(|| internal(py, "a read that waited found nothing"))
}

fn prefix_of<'a>(prefix: Option<&'a Bound<'_, PyAny>>) -> PyResult<&'a str> {
    prefix.map_or(Ok(""), text_of)
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

    fn __next__(&self) -> Option<(String, Total)> {
        let mut items = self
            .items
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        items.next().map(|(key, value)| (key, Total(value)))
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
    /// Count on this key.
    #[inline]
    pub fn count(&self, py: Python<'_>, n: Option<&Bound<'_, PyAny>>, side: Side) -> PyResult<()> {
        let amount = match n {
            None => Amount { side, by: 1 },
            n => amount(n, side)?,
        };
        self.open
            .engine(py)?
            .add_slot(turn(py), self.slot, amount)
            .map_err(|error| engine_error(py, error))
    }
}

#[pymethods]
impl Counter {
    #[getter]
    fn key(&self) -> &str {
        &self.key
    }

    #[getter]
    fn value(&self, py: Python<'_>) -> PyResult<Total> {
        let engine = self.open.engine(py)?;
        let (value, _) = read(py, |turn| engine.get(turn, &self.key, None))?;
        Ok(Total(value))
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
