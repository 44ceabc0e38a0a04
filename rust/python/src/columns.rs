//! `ids` and the `update` of columns: ids or keys in one, amounts in the other.

use crate::amounts::amount;
use crate::arguments;
use crate::arrow::import::{Column, Kind, Wrong};
use crate::buffers::{self, Buffer};
use crate::engine::engine_error;
use crate::errors::usage;
use crate::ids::Ids;
use crate::keys::text_of;
use crate::turn::turn;
use crdtstats_engine::{Amounts, Engine, EngineError, Turn};
use crdtstats_journal::Side;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyMapping, PyString, PyTuple};
use std::borrow::Cow;
use std::sync::Arc;

/// Work on fewer rows than this is not worth letting go of the GIL: about 2 KiB of them (measured: below, two threads
/// are twice as slow as one).
const LONG_ROWS: usize = 170;

const KEYS: &str = "keys are an iterable of str or a column of text";

/// Why a call on columns counted nothing.
enum Failure {
    Column(&'static str, Wrong),
    Engine(EngineError),
}

impl Failure {
    fn raise(self, py: Python<'_>) -> PyErr {
        match self {
            Failure::Column(which, wrong) => usage(py, &format!("the column of {which}: {wrong}")),
            Failure::Engine(error) => engine_error(py, error),
        }
    }
}

/// Where rows come from.
enum Rows<'py> {
    Ids(Bound<'py, Ids>),
    IdsOfColumn(Column),
    IdsOfBuffer(Buffer),
    Keys(Vec<Bound<'py, PyAny>>),
    KeysOfColumn(Column),
}

/// Rows that are ready to be read by any thread.
enum Ready<'a> {
    Ids(&'a [u32]),
    IdsOfColumn(&'a Column),
    IdsOfBuffer(&'a Buffer),
    Keys(Vec<&'a str>),
    KeysOfColumn(&'a Column),
}

/// Where amounts come from.
enum Source {
    Ones,
    Column(Column),
    Buffer(Buffer),
    Ints(Vec<i64>),
}

/// Resolve keys.
pub fn ids<'py>(engine: &Arc<Engine>, keys: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Ids>> {
    let py = keys.py();
    if is_text(keys) {
        return Err(usage(py, "keys are an iterable of str, not one str"));
    }
    let rows = match column_of(keys)? {
        Some(column) if column.kind() == Kind::Text => Rows::KeysOfColumn(column),
        Some(column) => {
            let kind = column.kind();
            return Err(usage(py, &format!("{KEYS}, not of {kind}: cast it")));
        }
        None => Rows::Keys(arguments::iterate(keys, KEYS)?.collect::<PyResult<Vec<_>>>()?),
    };
    let ready = rows.ready()?;
    let found = run(py, ready.len(), |turn| {
        let texts = ready.texts()?;
        engine.ids(turn, &texts).map_err(Failure::Engine)
    })?;
    Bound::new(py, Ids::new(engine, found))
}

/// Count a batch where a column is in it; false where there is none: nothing was done.
pub fn count(
    engine: &Arc<Engine>,
    batch: &Bound<'_, PyAny>,
    amounts: Option<&Bound<'_, PyAny>>,
    cursor: Option<&Bound<'_, PyAny>>,
) -> PyResult<bool> {
    let is_column = !is_plain(batch) && !is_text(batch);
    let rows = if is_column {
        rows_of(engine, batch)?
    } else {
        None
    };
    let (rows, source) = match (rows, amounts) {
        (Some(rows), amounts) => (rows, amounts_of(amounts)?),
        (None, Some(amounts)) if !is_plain(amounts) => {
            // A mapping or a str is refused where the other batches are counted.
            let Some(source) = amount_column(amounts)?.filter(|_| is_iterable_of_keys(batch))
            else {
                return Ok(false);
            };
            let keys = arguments::iterate(batch, KEYS)?.collect::<PyResult<Vec<_>>>()?;
            (Rows::Keys(keys), source)
        }
        _ => return Ok(false),
    };
    let py = batch.py();
    let cursor = cursor.map(arguments::cursor_move).transpose()?;
    let ready = rows.ready()?;
    let cursor = cursor
        .as_ref()
        .map(|(name, position)| (name.as_str(), *position));
    run(py, ready.len(), |turn| {
        source.read(|amounts| ready.count(engine, turn, amounts, cursor))
    })?;
    Ok(true)
}

/// Run work on so many rows, without the GIL where they are many.
fn run<T: Send>(
    py: Python<'_>,
    rows: usize,
    work: impl FnOnce(Option<Turn<'_>>) -> Result<T, Failure> + Send,
) -> PyResult<T> {
    let done = if rows < LONG_ROWS {
        work(turn(py))
    } else {
        py.detach(|| work(None))
    };
    done.map_err(|failure| failure.raise(py))
}

/// Is it what most batches are? Then it is no column, which is cheap to know.
fn is_plain(object: &Bound<'_, PyAny>) -> bool {
    object.is_exact_instance_of::<PyList>()
        || object.is_exact_instance_of::<PyTuple>()
        || object.is_exact_instance_of::<PyDict>()
}

fn is_text(object: &Bound<'_, PyAny>) -> bool {
    object.is_instance_of::<PyString>() || object.is_instance_of::<PyBytes>()
}

fn is_iterable_of_keys(batch: &Bound<'_, PyAny>) -> bool {
    !is_text(batch) && !batch.is_instance_of::<PyMapping>()
}

/// The Arrow column that an object shows, if it shows one.
fn column_of(object: &Bound<'_, PyAny>) -> PyResult<Option<Column>> {
    if is_plain(object) {
        return Ok(None);
    }
    match Column::of(object)? {
        None => Ok(None),
        Some(Ok(column)) => Ok(Some(column)),
        Some(Err(wrong)) => Err(usage(object.py(), &format!("an Arrow column: {wrong}"))),
    }
}

fn rows_of<'py>(engine: &Arc<Engine>, batch: &Bound<'py, PyAny>) -> PyResult<Option<Rows<'py>>> {
    let py = batch.py();
    if let Ok(ids) = batch.cast::<Ids>() {
        if !ids.get().is_of(engine) {
            return Err(usage(
                py,
                "these ids are of another open store: ids(keys) of this one gives its own; nothing was counted",
            ));
        }
        return Ok(Some(Rows::Ids(ids.clone())));
    }
    let wrong = |kind: &dyn std::fmt::Display| {
        let message = format!("a column of a batch holds ids (uint32) or keys (text), not {kind}");
        Err(usage(py, &message))
    };
    if let Some(column) = column_of(batch)? {
        return match column.kind() {
            Kind::Uint32 => Ok(Some(Rows::IdsOfColumn(column))),
            Kind::Text => Ok(Some(Rows::KeysOfColumn(column))),
            kind => wrong(&kind),
        };
    }
    let Some(buffer) = Buffer::of(batch) else {
        return Ok(None);
    };
    match buffer.kind() {
        buffers::Kind::Uint32 => Ok(Some(Rows::IdsOfBuffer(buffer))),
        buffers::Kind::Objects => Ok(None),
        _ => wrong(&format!("items of format {:?}", buffer.format())),
    }
}

fn amounts_of(amounts: Option<&Bound<'_, PyAny>>) -> PyResult<Source> {
    let Some(amounts) = amounts else {
        return Ok(Source::Ones);
    };
    if let Some(source) = amount_column(amounts)? {
        return Ok(source);
    }
    let ints = arguments::iterate(
        amounts,
        "amounts are a column of int64 or an iterable of ints",
    )?
    .map(|n| {
        let amount = amount(Some(&n?), Side::Incr)?;
        let n = amount.by.cast_signed(); // below 2⁶³
        Ok(match amount.side {
            Side::Incr => n,
            Side::Decr => -n,
        })
    })
    .collect::<PyResult<Vec<_>>>()?;
    Ok(Source::Ints(ints))
}

/// The column that amounts are, if they are one.
fn amount_column(amounts: &Bound<'_, PyAny>) -> PyResult<Option<Source>> {
    if let Some(column) = column_of(amounts)? {
        let kind = column.kind();
        return match kind {
            Kind::Int64 | Kind::Uint64 => Ok(Some(Source::Column(column))),
            _ => {
                let message = format!("a column of amounts holds int64, not {kind}: cast it");
                Err(usage(amounts.py(), &message))
            }
        };
    }
    let buffer = Buffer::of(amounts)
        .filter(|buffer| matches!(buffer.kind(), buffers::Kind::Int64 | buffers::Kind::Uint64));
    Ok(buffer.map(Source::Buffer))
}

impl Rows<'_> {
    fn ready(&self) -> PyResult<Ready<'_>> {
        Ok(match self {
            Rows::Ids(ids) => Ready::Ids(ids.get().as_slice()),
            Rows::IdsOfColumn(column) => Ready::IdsOfColumn(column),
            Rows::IdsOfBuffer(buffer) => Ready::IdsOfBuffer(buffer),
            Rows::Keys(keys) => {
                let texts = keys.iter().map(text_of).collect::<PyResult<Vec<_>>>();
                Ready::Keys(texts?)
            }
            Rows::KeysOfColumn(column) => Ready::KeysOfColumn(column),
        })
    }
}

impl Ready<'_> {
    fn len(&self) -> usize {
        match self {
            Ready::Ids(ids) => ids.len(),
            Ready::IdsOfBuffer(buffer) => buffer.len(),
            Ready::IdsOfColumn(column) | Ready::KeysOfColumn(column) => column.len(),
            Ready::Keys(keys) => keys.len(),
        }
    }

    fn count(
        &self,
        engine: &Engine,
        turn: Option<Turn<'_>>,
        amounts: Amounts<'_>,
        cursor: Option<(&str, u64)>,
    ) -> Result<(), Failure> {
        let failed = |wrong| Failure::Column("ids", wrong);
        let done = match self {
            Ready::Ids(ids) => engine.add_ids(turn, ids, amounts, cursor),
            Ready::IdsOfColumn(column) => {
                let ids = column.numbers().map_err(failed)?;
                engine.add_ids(turn, &&*ids, amounts, cursor)
            }
            Ready::IdsOfBuffer(buffer) => {
                let ids = buffer.items().map_err(failed)?;
                engine.add_ids(turn, &ids, amounts, cursor)
            }
            Ready::Keys(_) | Ready::KeysOfColumn(_) => {
                let keys = self.texts()?;
                engine.add_keys(turn, &keys, amounts, cursor)
            }
        };
        done.map_err(Failure::Engine)
    }

    /// The keys, where the rows are keys.
    fn texts(&self) -> Result<Cow<'_, [&str]>, Failure> {
        match self {
            Ready::Keys(keys) => Ok(Cow::Borrowed(keys)),
            Ready::KeysOfColumn(column) => {
                let texts = column
                    .texts()
                    .map_err(|wrong| Failure::Column("keys", wrong))?;
                Ok(Cow::Owned(texts))
            }
            Ready::Ids(_) | Ready::IdsOfColumn(_) | Ready::IdsOfBuffer(_) => Ok(Cow::Borrowed(&[])),
        }
    }
}

impl Source {
    fn read<T>(&self, then: impl FnOnce(Amounts<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        let failed = |wrong| Failure::Column("amounts", wrong);
        match self {
            Source::Ones => then(Amounts::Ones),
            Source::Ints(ints) => then(Amounts::Signed(&ints.as_slice())),
            Source::Column(column) if column.kind() == Kind::Uint64 => {
                let numbers = column.numbers().map_err(failed)?;
                then(Amounts::Unsigned(&&*numbers))
            }
            Source::Column(column) => {
                let numbers = column.numbers().map_err(failed)?;
                then(Amounts::Signed(&&*numbers))
            }
            Source::Buffer(buffer) if buffer.kind() == buffers::Kind::Uint64 => {
                then(Amounts::Unsigned(&buffer.items().map_err(failed)?))
            }
            Source::Buffer(buffer) => then(Amounts::Signed(&buffer.items().map_err(failed)?)),
        }
    }
}
