//! Totals as a table: a column of keys and one of totals, laid out as Arrow lays them out.

use crate::Engine;
use crate::error::EngineError;

/// The longest text that offsets of 32 bits reach.
const SHORT_BYTES_MAX: usize = i32::MAX as usize;

/// 10³⁸: a decimal128 of 38 digits stays below.
const DECIMAL_END: u128 = 10u128.pow(38);

/// Where each key begins, and at last where the text ends.
#[derive(Debug, PartialEq, Eq)]
pub enum Offsets {
    Short(Vec<i32>),
    Long(Vec<i64>),
}

/// The totals, one for each key.
#[derive(Debug, PartialEq, Eq)]
pub enum Totals {
    /// Each has at most 38 digits.
    Decimal(Vec<i128>),
    Int(Vec<i64>),
}

/// Keys and their totals, sorted by key.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    pub rows: usize,
    pub offsets: Offsets,
    pub text: Vec<u8>,
    pub totals: Totals,
}

impl Engine {
    /// Every key at or below, with its total: as integers of 64 bits where `is_int64`, else as decimals.
    ///
    /// # Errors
    /// A bad key; a total that does not fit.
    pub fn table(&self, prefix: &str, is_int64: bool) -> Result<Table, EngineError> {
        Table::of(&self.items(prefix)?, is_int64, SHORT_BYTES_MAX)
    }
}

impl Table {
    fn of(
        items: &[(String, i128)],
        is_int64: bool,
        short_bytes_max: usize,
    ) -> Result<Self, EngineError> {
        let text = items.iter().map(|(key, _)| key.as_str());
        let text: Vec<u8> = text.collect::<String>().into_bytes();
        let mut end = 0;
        let ends = items.iter().map(|(key, _)| {
            end += key.len();
            end
        });
        let starts = std::iter::once(0).chain(ends);
        let offsets = if text.len() <= short_bytes_max {
            Offsets::Short(starts.map(|at| at as i32).collect())
        } else {
            Offsets::Long(starts.map(|at| at as i64).collect())
        };
        let totals = if is_int64 {
            Totals::Int(fit(items, "int64", |total| i64::try_from(total).ok())?)
        } else {
            let fits = |total: i128| (total.unsigned_abs() < DECIMAL_END).then_some(total);
            Totals::Decimal(fit(items, "decimal128(38, 0)", fits)?)
        };
        Ok(Table {
            rows: items.len(),
            offsets,
            text,
            totals,
        })
    }
}

fn fit<T>(
    items: &[(String, i128)],
    kind: &'static str,
    fits: impl Fn(i128) -> Option<T>,
) -> Result<Vec<T>, EngineError> {
    let mut out = Vec::with_capacity(items.len());
    for (key, total) in items {
        let Some(total) = fits(*total) else {
            return Err(EngineError::TotalRange {
                key: key.clone(),
                total: *total,
                kind,
            });
        };
        out.push(total);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(
        items: &[(&str, i128)],
        is_int64: bool,
        bytes_max: usize,
    ) -> Result<Table, EngineError> {
        let items: Vec<(String, i128)> = items
            .iter()
            .map(|(key, total)| ((*key).to_owned(), *total))
            .collect();
        Table::of(&items, is_int64, bytes_max)
    }

    #[test]
    fn offsets_are_long_where_the_text_is() {
        let items = [("a", 1), ("bc", -2)];
        let short = table(&items, true, 3).unwrap();
        assert_eq!(short.offsets, Offsets::Short(vec![0, 1, 3]));
        assert_eq!(short.text, b"abc");
        assert_eq!(short.totals, Totals::Int(vec![1, -2]));
        let long = table(&items, false, 2).unwrap();
        assert_eq!(long.offsets, Offsets::Long(vec![0, 1, 3]));
        assert_eq!(long.totals, Totals::Decimal(vec![1, -2]));
        let empty = table(&[], false, 2).unwrap();
        assert_eq!((empty.rows, empty.offsets), (0, Offsets::Short(vec![0])));
    }

    #[test]
    fn a_total_that_does_not_fit_is_refused() {
        let (least, most) = (i128::from(i64::MIN), i128::from(i64::MAX));
        let digits = 10i128.pow(38) - 1;
        assert!(table(&[("a", least), ("b", most)], true, 9).is_ok());
        assert!(table(&[("a", digits), ("b", -digits)], false, 9).is_ok());
        for (total, is_int64) in [
            (least - 1, true),
            (most + 1, true),
            (digits + 1, false),
            (-digits - 1, false),
            (i128::MIN, false),
        ] {
            let error = table(&[("a", 0), ("the key", total)], is_int64, 9).unwrap_err();
            assert!(error.to_string().contains("the key"), "{error}");
        }
    }
}
