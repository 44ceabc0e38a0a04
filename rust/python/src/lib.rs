//! The extension module `crdtstats._core`: names, argument checks and error mapping. No rules live here.

mod amounts;
mod arguments;
mod batches;
mod copies;
mod counters;
mod engine;
mod errors;
mod hot;
mod keys;
mod memory;
mod process;
mod signer;
mod turn;
mod wire;

use pyo3::prelude::*;

#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    wire::register(m)?;
    process::register(m)?;
    engine::register(m)?;
    counters::register(m)?;
    hot::register(m)
}
