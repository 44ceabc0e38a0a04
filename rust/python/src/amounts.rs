//! Python ints as amounts: 0 ≤ n < 2⁶³, a negative one counts on the other side.

use crate::errors::usage;
use crdtstats_engine::Amount;
use crdtstats_journal::Side;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt};

/// The amount that `value` means when it is counted on `side`.
pub fn amount(value: Option<&Bound<'_, PyAny>>, side: Side) -> PyResult<Amount> {
    let Some(value) = value else {
        return Ok(Amount { side, by: 1 });
    };
    if value.is_instance_of::<PyBool>() || !value.is_instance_of::<PyInt>() {
        let kind = value.get_type().name()?;
        return Err(usage(
            value.py(),
            &format!("an amount is an int, not {kind}"),
        ));
    }
    let Ok(n) = value.extract::<i64>() else {
        return Err(usage(
            value.py(),
            "an amount is an int from -(2**63 - 1) to 2**63 - 1",
        ));
    };
    let by = n.unsigned_abs();
    if by > i64::MAX as u64 {
        return Err(usage(
            value.py(),
            "an amount is an int from -(2**63 - 1) to 2**63 - 1",
        ));
    }
    Ok(Amount {
        side: if n < 0 { other(side) } else { side },
        by,
    })
}

fn other(side: Side) -> Side {
    match side {
        Side::Incr => Side::Decr,
        Side::Decr => Side::Incr,
    }
}

/// A sum as a Python int. Nearly all fit 64 bits, for which the interpreter has a short way.
pub struct Total(pub i128);

impl<'py> IntoPyObject<'py> for Total {
    type Target = PyInt;
    type Output = Bound<'py, PyInt>;
    type Error = std::convert::Infallible;

    fn into_pyobject(self, py: Python<'py>) -> Result<Self::Output, Self::Error> {
        match i64::try_from(self.0) {
            Ok(small) => small.into_pyobject(py),
            Err(_) => self.0.into_pyobject(py),
        }
    }
}
