//! What can go wrong in an open store, told apart by what the caller should do.

use crdtstats_core::error::WireError;
use crdtstats_core::key::KeyError;
use crdtstats_journal::{AddError, JournalError};

/// Why a call of the store did not do what it was asked.
#[derive(thiserror::Error, Debug)]
pub enum EngineError {
    #[error("{0}")]
    Key(#[from] KeyError),
    #[error("the sub-counter of {key:?} would pass 2**64 - 1; nothing was counted")]
    Overflow { key: String },
    #[error("the store is closed; open it again")]
    Closed,
    #[error(
        "cursor {name:?} stands at {at}, so a batch at {position} was counted before; nothing was counted"
    )]
    CursorBehind {
        name: String,
        at: u64,
        position: u64,
    },
    #[error(
        "id {id} at position {position} is none of this open store: ids are valid for the store that gave them, until it is closed; nothing was counted"
    )]
    ForeignId { position: usize, id: u32 },
    #[error("{rows} rows, but {amounts} amounts; nothing was counted")]
    ColumnLengths { rows: usize, amounts: usize },
    #[error(
        "the amount at position {position} is not from -(2**63 - 1) to 2**63 - 1; nothing was counted"
    )]
    AmountRange { position: usize },
    #[error(
        "the total {total} of {key:?} does not fit into {kind}; get() and items() give it exactly"
    )]
    TotalRange {
        key: String,
        total: i128,
        kind: &'static str,
    },
    #[error("{0}")]
    Journal(#[from] JournalError),
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("an internal rule was broken: {0}")]
    Internal(&'static str),
    #[error("{0}")]
    Data(String),
}

impl EngineError {
    pub(crate) fn of_add(error: AddError, key: &str) -> Self {
        match error {
            AddError::Overflow => EngineError::Overflow {
                key: key.to_owned(),
            },
            AddError::ForeignSlot => {
                EngineError::Internal("a counter's slot belongs to another journal")
            }
        }
    }

    pub(crate) fn of_batch(error: JournalError) -> Self {
        match error {
            JournalError::Overflow { key } => EngineError::Overflow { key },
            JournalError::CursorBehind { name, held, asked } => EngineError::CursorBehind {
                name,
                at: held,
                position: asked,
            },
            error => EngineError::Journal(error),
        }
    }
}
