//! Batches as Python objects: mappings, iterables of keys, two columns.

use crate::amounts::amount;
use crate::arguments;
use crate::engine::engine_error;
use crate::errors::usage;
use crate::keys::{hold, let_go, let_go_of_dead, prefetch, text_of, token_of};
use crate::lists;
use crate::turn::turn;
use crdtstats_engine::{Addition, Amount, Batch, Engine, EngineError, Kept};
use crdtstats_journal::Side;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyMapping, PyString};

const BATCH: &str = "a batch is a mapping or an iterable of keys";

/// Keys and amounts, held for the length of a call.
struct Lines<'py> {
    keys: Vec<Bound<'py, PyAny>>,
    /// `None`: 1 each.
    amounts: Option<Vec<Amount>>,
}

/// Why a batch was not counted: the engine's error becomes Python's when nothing is locked any more.
enum Refused {
    Engine(EngineError),
    Key(usize),
}

impl From<EngineError> for Refused {
    fn from(error: EngineError) -> Self {
        Refused::Engine(error)
    }
}

/// Tokens are addresses of objects that somebody holds for the length of the call.
struct Objects<'py>(Python<'py>);

impl<'py> Batch<'py> for Objects<'py> {
    type Error = Refused;

    fn prefetch(&self, token: usize) {
        prefetch(token);
    }

    fn may_come_again(&self, token: usize) -> bool {
        // SAFETY: as in `text`. The batch holds one reference itself.
        unsafe { ffi::Py_REFCNT(token as *mut ffi::PyObject) > 1 }
    }

    fn text(&self, token: usize) -> Result<&'py str, Refused> {
        // SAFETY: the token is the address of an object that somebody holds for the length of the call, which is shorter
        // than 'py: no Python code runs meanwhile. A str never changes, and neither does its UTF-8 form.
        unsafe { utf8(self.0, token as *mut ffi::PyObject) }.ok_or(Refused::Key(token))
    }
}

/// The text of an object, where it is a `str` of valid UTF-8.
///
/// # Safety
/// The object lives for 'py.
unsafe fn utf8<'py>(_py: Python<'py>, object: *mut ffi::PyObject) -> Option<&'py str> {
    // SAFETY: the object lives; what comes back is that many bytes of UTF-8 which live as long as it does.
    unsafe {
        // Nearly always exactly a str, which one comparison tells; the other check is a call.
        if ffi::PyUnicode_CheckExact(object) == 0 && ffi::PyUnicode_Check(object) == 0 {
            return None;
        }
        let mut bytes = 0;
        let text = ffi::PyUnicode_AsUTF8AndSize(object, &mut bytes);
        if text.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        let text = std::slice::from_raw_parts(text.cast::<u8>(), usize::try_from(bytes).ok()?);
        Some(std::str::from_utf8_unchecked(text))
    }
}

/// Keeps the garbage collector from running: what it collects may run Python code, which must not count on this store,
/// nor let another thread have its turn, while the counters are locked. A key that is no UTF-8 makes an exception, and
/// up to Python 3.11 that is an occasion to collect.
struct NoCollection<'py> {
    _py: Python<'py>,
    was_on: bool,
}

impl<'py> NoCollection<'py> {
    fn new(py: Python<'py>) -> Self {
        // SAFETY: attached.
        let was_on = unsafe { ffi::PyGC_Disable() } == 1;
        NoCollection { _py: py, was_on }
    }
}

impl Drop for NoCollection<'_> {
    fn drop(&mut self) {
        if self.was_on {
            // SAFETY: attached, as `_py` says.
            unsafe { ffi::PyGC_Enable() };
        }
    }
}

pub fn count(
    engine: &Engine,
    batch: &Bound<'_, PyAny>,
    amounts: Option<&Bound<'_, PyAny>>,
    cursor: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let py = batch.py();
    let cursor = cursor.map(arguments::cursor_move).transpose()?;
    if batch.is_instance_of::<PyString>() || batch.is_instance_of::<PyBytes>() {
        return Err(usage(
            py,
            "a batch is a mapping or an iterable of keys, not one str",
        ));
    }
    if let (Some(turn), None) = (turn(py), &cursor) {
        // A list that is nobody else's until something is let go of: no key of it needs to be held.
        if amounts.is_none()
            && let Ok(list) = batch.cast_exact::<PyList>()
        {
            return add_tokens(py, engine, turn, &lists::addresses(list), None);
        }
        let lines = lines_of(batch, amounts)?;
        let tokens: Vec<usize> = lines.keys.iter().map(token_of).collect();
        return add_tokens(py, engine, turn, &tokens, lines.amounts.as_deref());
    }
    let lines = lines_of(batch, amounts)?;
    let amount_of = |n: usize| match &lines.amounts {
        Some(amounts) => amounts.get(n).copied(),
        None => Some(Amount::ONE),
    };
    let additions = lines
        .keys
        .iter()
        .enumerate()
        .filter_map(|(n, key)| amount_of(n).map(|amount| (key, amount)))
        .map(|(key, amount)| {
            let key = text_of(key)?;
            Ok(Addition { key, amount })
        })
        .collect::<PyResult<Vec<_>>>()?;
    let cursor = cursor
        .as_ref()
        .map(|(name, position)| (name.as_str(), *position));
    engine
        .add_batch(turn(py), &additions, cursor)
        .map_err(|error| engine_error(py, error))
}

fn add_tokens(
    py: Python<'_>,
    engine: &Engine,
    turn: crdtstats_engine::Turn<'_>,
    tokens: &[usize],
    amounts: Option<&[Amount]>,
) -> PyResult<()> {
    let mut kept = Kept::default();
    let added = {
        let _quiet = NoCollection::new(py);
        engine.add_tokens(turn, tokens, amounts, &Objects(py), &mut kept)
    };
    // Before anything is let go of: that may run code of a key's class, and the list may be another one after it.
    let added = added.map_err(|refused| match refused {
        Refused::Engine(error) => engine_error(py, error),
        Refused::Key(token) => {
            // SAFETY: as in `Objects::text`.
            let key = unsafe { Bound::from_borrowed_ptr(py, token as *mut ffi::PyObject) };
            match text_of(&key) {
                Err(error) => error,
                Ok(_) => usage(py, "a key changed while it was read"),
            }
        }
    });
    let lines = kept.kept.len();
    // SAFETY: all tokens are addresses of objects that live, until the first one is let go of; what is dropped was kept by
    // this call or an earlier one.
    unsafe {
        kept.kept.into_iter().for_each(|token| hold(py, token));
        kept.dropped.into_iter().for_each(|token| let_go(py, token));
    }
    let_go_of_dead(py, engine, lines);
    added
}

fn lines_of<'py>(
    batch: &Bound<'py, PyAny>,
    amounts: Option<&Bound<'py, PyAny>>,
) -> PyResult<Lines<'py>> {
    let py = batch.py();
    let of = |n: &Bound<'py, PyAny>| amount(Some(n), Side::Incr);
    if let Some(amounts) = amounts {
        if batch.is_instance_of::<PyMapping>() {
            return Err(usage(py, "a mapping holds its amounts itself"));
        }
        let keys = arguments::iterate(batch, BATCH)?;
        let keys = keys.collect::<PyResult<Vec<_>>>()?;
        let amounts = arguments::iterate(amounts, "amounts are an iterable of ints")?;
        let amounts = amounts
            .map(|n| of(&n?))
            .collect::<PyResult<Vec<Amount>>>()?;
        if keys.len() != amounts.len() {
            return Err(usage(
                py,
                &format!("{} keys, but {} amounts", keys.len(), amounts.len()),
            ));
        }
        let amounts = Some(amounts);
        return Ok(Lines { keys, amounts });
    }
    if let Ok(mapping) = batch.cast_exact::<PyDict>() {
        let (mut keys, mut amounts) = (Vec::new(), Vec::new());
        for (key, n) in mapping.iter() {
            keys.push(key);
            amounts.push(of(&n)?);
        }
        let amounts = Some(amounts);
        return Ok(Lines { keys, amounts });
    }
    if let Ok(mapping) = batch.cast::<PyMapping>() {
        let (mut keys, mut amounts) = (Vec::new(), Vec::new());
        for item in mapping.items()?.iter() {
            let (key, n) = item.extract::<(Bound<'py, PyAny>, Bound<'py, PyAny>)>()?;
            keys.push(key);
            amounts.push(of(&n)?);
        }
        let amounts = Some(amounts);
        return Ok(Lines { keys, amounts });
    }
    let keys = arguments::iterate(batch, BATCH)?;
    let keys = keys.collect::<PyResult<Vec<_>>>()?;
    Ok(Lines {
        keys,
        amounts: None,
    })
}
