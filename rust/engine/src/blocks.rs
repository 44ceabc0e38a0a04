//! Columns of numbers, read in blocks: they are as long as a batch, and may be somebody else's memory.

use crate::error::EngineError;

/// Rows of a block: few enough that making room for blocks costs a small batch next to nothing.
pub const BLOCK_ROWS: usize = 256;

/// Room for a block.
pub type Block<T> = [T; BLOCK_ROWS];

/// A column of numbers.
pub trait Column<T>: Sync {
    /// How many rows there are.
    fn rows(&self) -> usize;

    /// The rows from `from` on, at most [`BLOCK_ROWS`]: where they are, or copied into `scratch` where others may write
    /// to them meanwhile. Asked again it may give other numbers, so what was checked has to be what is counted.
    fn block<'a>(&'a self, from: usize, scratch: &'a mut Block<T>) -> &'a [T];

    /// Where a row is, for the processor to fetch: nobody reads through it. It may be past the end.
    fn place(&self, row: usize) -> *const T;
}

impl<T: Sync> Column<T> for &[T] {
    fn rows(&self) -> usize {
        self.len()
    }

    fn block<'a>(&'a self, from: usize, _scratch: &'a mut Block<T>) -> &'a [T] {
        let rest = self.get(from..).unwrap_or(&[]);
        rest.get(..BLOCK_ROWS).unwrap_or(rest)
    }

    fn place(&self, row: usize) -> *const T {
        self.as_ptr().wrapping_add(row)
    }
}

/// A column of amounts. Negative ones count down.
#[derive(Clone, Copy)]
pub enum Amounts<'a> {
    /// 1 in each row.
    Ones,
    Signed(&'a dyn Column<i64>),
    /// Below 2⁶³.
    Unsigned(&'a dyn Column<u64>),
}

impl Amounts<'_> {
    /// All amounts, each read once and checked, and the sum of their magnitudes. `None` for the amounts: 1 each; for the
    /// sum: it is past 2⁶⁴ − 1.
    ///
    /// # Errors
    /// One is `i64::MIN`, or 2⁶³ and more.
    #[allow(clippy::type_complexity)] // two answers of one pass
    pub(crate) fn read_all(
        self,
        rows: usize,
    ) -> Result<(Option<Vec<i64>>, Option<u64>), EngineError> {
        if matches!(self, Amounts::Ones) {
            return Ok((None, u64::try_from(rows).ok()));
        }
        let (mut all, mut sum) = (Vec::with_capacity(rows), Some(0u64));
        let mut blocks = AmountBlocks::new(self);
        for from in (0..rows).step_by(BLOCK_ROWS) {
            let block = blocks.read_checked(from)?;
            all.extend_from_slice(block);
            // In halves, so that the compiler adds many at once: 256 magnitudes cannot overflow either.
            let halves = block.iter().fold((0u64, 0u64), |(low, high), n| {
                let n = n.unsigned_abs();
                (
                    low.wrapping_add(n & 0xffff_ffff),
                    high.wrapping_add(n >> 32),
                )
            });
            let of_block = halves
                .1
                .checked_mul(1 << 32)
                .and_then(|n| n.checked_add(halves.0));
            sum = sum
                .zip(of_block)
                .and_then(|(sum, more)| sum.checked_add(more));
        }
        Ok((Some(all), sum))
    }

    /// Where the amount of a row is (see [`Column::place`]).
    pub(crate) fn place(self, row: usize) -> *const u8 {
        match self {
            Amounts::Ones => std::ptr::null(),
            Amounts::Signed(column) => column.place(row).cast(),
            Amounts::Unsigned(column) => column.place(row).cast(),
        }
    }

    /// Are there as many as rows?
    pub(crate) fn check_rows(self, rows: usize) -> Result<(), EngineError> {
        let amounts = match self {
            Amounts::Ones => rows,
            Amounts::Signed(column) => column.rows(),
            Amounts::Unsigned(column) => column.rows(),
        };
        if amounts == rows {
            return Ok(());
        }
        Err(EngineError::ColumnLengths { rows, amounts })
    }
}

/// Reads amounts block by block.
pub(crate) struct AmountBlocks<'a> {
    amounts: Amounts<'a>,
    signed: Block<i64>,
    unsigned: Block<u64>,
}

impl<'a> AmountBlocks<'a> {
    pub(crate) fn new(amounts: Amounts<'a>) -> Self {
        AmountBlocks {
            amounts,
            signed: [1; BLOCK_ROWS],
            unsigned: [0; BLOCK_ROWS],
        }
    }

    /// The block that begins at row `from`; what is no amount is `i64::MIN`.
    pub(crate) fn read(&mut self, from: usize) -> &[i64] {
        match self.amounts {
            Amounts::Ones => &self.signed,
            Amounts::Signed(column) => column.block(from, &mut self.signed),
            Amounts::Unsigned(column) => {
                let block = column.block(from, &mut self.unsigned);
                for (signed, n) in self.signed.iter_mut().zip(block) {
                    *signed = i64::try_from(*n).unwrap_or(i64::MIN);
                }
                self.signed.get(..block.len()).unwrap_or(&[])
            }
        }
    }

    /// As [`AmountBlocks::read`], checked: none is `i64::MIN`, so each has a magnitude below 2⁶³.
    pub(crate) fn read_checked(&mut self, from: usize) -> Result<&[i64], EngineError> {
        let block = self.read(from);
        // Without a branch: all rows are looked at, many at once.
        let any = block.iter().fold(false, |any, n| any | (*n == i64::MIN));
        match any
            .then(|| block.iter().position(|n| *n == i64::MIN))
            .flatten()
        {
            Some(row) => {
                let position = from + row;
                Err(EngineError::AmountRange { position })
            }
            None => Ok(block),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads all of them, or gives the position of the first that is none.
    fn read(amounts: Amounts<'_>, rows: usize) -> Result<Vec<i64>, usize> {
        let mut blocks = AmountBlocks::new(amounts);
        let mut out = Vec::new();
        for from in (0..rows).step_by(BLOCK_ROWS) {
            match blocks.read_checked(from) {
                Ok(block) => out.extend_from_slice(block),
                Err(EngineError::AmountRange { position }) => return Err(position),
                Err(_) => return Err(usize::MAX),
            }
        }
        out.truncate(rows); // ones have no end
        Ok(out)
    }

    #[test]
    fn blocks_are_the_column_around_their_length() {
        for rows in [
            0,
            1,
            BLOCK_ROWS - 1,
            BLOCK_ROWS,
            BLOCK_ROWS + 1,
            3 * BLOCK_ROWS,
        ] {
            let signed: Vec<i64> = (0..rows as i64).map(|n| n - 5).collect();
            assert_eq!(
                read(Amounts::Signed(&signed.as_slice()), rows).as_ref(),
                Ok(&signed)
            );
            let unsigned: Vec<u64> = (0..rows as u64).collect();
            let all = read(Amounts::Unsigned(&unsigned.as_slice()), rows).unwrap();
            assert!(all.iter().map(|n| *n as u64).eq(unsigned));
            assert_eq!(read(Amounts::Ones, rows).unwrap(), vec![1; rows]);
        }
    }

    #[test]
    fn amounts_at_the_edges() {
        let good = [0, 1, -1, i64::MAX, -i64::MAX];
        assert_eq!(
            read(Amounts::Signed(&good.as_slice()), 5),
            Ok(good.to_vec())
        );
        let mut signed = vec![0; 2000];
        signed[1500] = i64::MIN;
        assert_eq!(read(Amounts::Signed(&signed.as_slice()), 2000), Err(1500));
        let edge = i64::MAX as u64;
        let good = [0, 1, edge];
        assert_eq!(
            read(Amounts::Unsigned(&good.as_slice()), 3),
            Ok(vec![0, 1, i64::MAX])
        );
        for wrong in [edge + 1, u64::MAX] {
            assert_eq!(read(Amounts::Unsigned(&[0, wrong].as_slice()), 2), Err(1));
        }
    }

    #[test]
    fn columns_of_two_lengths_are_refused() {
        assert!(Amounts::Signed(&[1].as_slice()).check_rows(2).is_err());
        assert!(Amounts::Unsigned(&[].as_slice()).check_rows(0).is_ok());
        assert!(Amounts::Ones.check_rows(2).is_ok());
    }
}
