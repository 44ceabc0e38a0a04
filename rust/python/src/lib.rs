//! The extension module `crdtstats._core`: names, argument checks and error mapping. No rules live here.

mod amounts;
mod arguments;
mod arrow;
mod batches;
mod blocks;
mod buffers;
mod columns;
mod counters;
mod engine;
mod errors;
mod hot;
mod ids;
mod keys;
mod leftover;
mod lists;
mod memory;
mod process;
mod psk;
mod signer;
mod table;
mod turn;
mod wire;

use pyo3::prelude::*;

#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    wire::register(m)?;
    process::register(m)?;
    psk::register(m)?;
    engine::register(m)?;
    leftover::register(m)?;
    counters::register(m)?;
    hot::register(m)?;
    blocks::register(m)?;
    ids::register(m)?;
    table::register(m)
}
