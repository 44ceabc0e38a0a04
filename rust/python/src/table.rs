//! `Table`: keys and totals, as a table that others read without a copy.

use crate::arrow::export::{self, Show, Shown};
use crdtstats_engine::{Offsets, Totals};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::sync::Arc;

struct Columns(crdtstats_engine::Table);

// SAFETY: the buffers are those of vectors that nobody can change. The offsets are one more than the rows, and reach to
// the end of the text; there is a total for each row.
unsafe impl Show for Columns {
    fn show(&self) -> Shown {
        let (key, offsets) = match &self.0.offsets {
            Offsets::Short(offsets) => (c"u", offsets.as_ptr().cast()),
            Offsets::Long(offsets) => (c"U", offsets.as_ptr().cast()),
        };
        let (total, totals) = match &self.0.totals {
            Totals::Decimal(totals) => (c"d:38,0", totals.as_ptr().cast()),
            Totals::Int(totals) => (c"l", totals.as_ptr().cast()),
        };
        let column = |name, format, buffers| Shown {
            name,
            format,
            length: self.0.rows,
            buffers,
            children: Vec::new(),
        };
        Shown {
            children: vec![
                column(c"key", key, vec![offsets, self.0.text.as_ptr().cast()]),
                column(c"total", total, vec![totals]),
            ],
            ..column(c"", c"+s", Vec::new())
        }
    }
}

/// Keys and their totals.
#[pyclass(frozen, module = "crdtstats._core")]
pub struct Table {
    columns: Arc<Columns>,
}

impl Table {
    pub fn new(table: crdtstats_engine::Table) -> Self {
        Table {
            columns: Arc::new(Columns(table)),
        }
    }
}

#[pymethods]
impl Table {
    fn __len__(&self) -> usize {
        self.columns.0.rows
    }

    fn __repr__(&self) -> String {
        format!("<Table of {} keys>", self.columns.0.rows)
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        export::schema(py, &self.columns)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        let _ = requested_schema; // the caller of `to_arrow` chose the types, and the interface allows to keep them
        export::array(py, &self.columns)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema; // as above
        export::stream(py, &self.columns)
    }
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Table>()
}
