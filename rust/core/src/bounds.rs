//! For each block of neighbouring values a number that none of them is above, so that whoever looks for the largest
//! values need not look at most of them.

use std::cell::Cell;
use std::collections::BinaryHeap;

/// Values of a block: as many as cost about as much to look at as finding the block.
const BLOCK: usize = 1024;

/// Bounds of an array of values that others change. Falling values leave a bound too high, until somebody looks.
#[derive(Default)]
pub(crate) struct Bounds {
    most: Vec<Cell<i64>>,
}

impl Bounds {
    /// A value was added next to the last one.
    pub fn push(&mut self, at: usize, value: i64) {
        if at.is_multiple_of(BLOCK) {
            self.most.push(Cell::new(value));
        } else {
            self.raise(at, value);
        }
    }

    /// A value was set.
    #[inline]
    pub fn raise(&mut self, at: usize, value: i64) {
        // Nearly never: a store that is not made is faster than one that changes nothing.
        if let Some(most) = self.most.get_mut(at / BLOCK)
            && value > *most.get_mut()
        {
            most.set(value);
        }
    }

    /// Calls `each` with the place of every value that is not below the floor, and with the value, where `each` gives the
    /// floor from then on; `None`: no value reaches it. Blocks with high bounds come first, so the floor rises soon.
    pub fn offer(
        &self,
        values: &[i64],
        floor: Option<i64>,
        mut each: impl FnMut(usize, i64) -> Option<i64>,
    ) {
        let Some(mut low) = floor else { return };
        let bounds = self.most.iter().map(Cell::get).zip(0..);
        let mut blocks: BinaryHeap<(i64, usize)> =
            bounds.filter(|(most, _)| *most >= low).collect();
        while let Some((most, block)) = blocks.pop().filter(|(most, _)| *most >= low) {
            let start = block * BLOCK;
            let end = values.len().min(start + BLOCK);
            let block_values = values.get(start..end).unwrap_or_default();
            // Without a branch, so that the compiler compares many at once.
            let highest = block_values
                .iter()
                .fold(i64::MIN, |most, value| most.max(*value));
            if highest < most
                && let Some(bound) = self.most.get(block)
            {
                bound.set(highest);
            }
            if highest < low {
                continue;
            }
            for (at, &value) in (start..).zip(block_values) {
                if value >= low {
                    match each(at, value) {
                        Some(floor) => low = floor,
                        None => return,
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The `n` largest, and how many values were looked at closely.
    fn largest(bounds: &Bounds, values: &[i64], n: usize) -> (Vec<i64>, usize) {
        let (mut best, mut offered) = (Vec::new(), 0);
        bounds.offer(values, Some(i64::MIN), |at, value| {
            assert_eq!(values[at], value);
            offered += 1;
            best.push(value);
            best.sort_unstable_by(|a, b| b.cmp(a));
            best.truncate(n);
            Some(
                best.last()
                    .copied()
                    .filter(|_| best.len() == n)
                    .unwrap_or(i64::MIN),
            )
        });
        (best, offered)
    }

    #[test]
    fn the_largest_are_found_whatever_rose_and_fell() {
        arbtest::arbtest(|u| {
            let (mut bounds, mut values) = (Bounds::default(), Vec::new());
            for at in 0..u.int_in_range(0..=5 * BLOCK)? {
                values.push(i64::from(u.arbitrary::<i16>().unwrap_or_default()));
                bounds.push(at, values[at]);
            }
            for _ in 0..3 {
                for _ in 0..values.len().min(100) {
                    let at = u.choose_index(values.len()).unwrap_or_default();
                    values[at] = u.arbitrary().unwrap_or_default();
                    bounds.raise(at, values[at]);
                }
                let mut want = values.clone();
                want.sort_unstable_by(|a, b| b.cmp(a));
                want.truncate(7);
                assert_eq!(largest(&bounds, &values, 7).0, want);
            }
            Ok(())
        });
    }

    #[test]
    fn a_bound_that_is_too_high_is_mended_by_the_first_who_looks() {
        let (mut bounds, mut values) = (Bounds::default(), vec![0; 4 * BLOCK]);
        for (at, value) in values.iter_mut().enumerate() {
            *value = at as i64;
            bounds.push(at, *value);
        }
        let (best, offered) = largest(&bounds, &values, 3);
        assert_eq!(
            best,
            [
                4 * BLOCK as i64 - 1,
                4 * BLOCK as i64 - 2,
                4 * BLOCK as i64 - 3
            ]
        );
        assert!(offered <= BLOCK, "{offered}");
        for value in values.iter_mut().skip(BLOCK) {
            *value = -1;
        }
        assert_eq!(largest(&bounds, &values, 1).0, [BLOCK as i64 - 1]);
        let bounds: Vec<i64> = bounds.most.iter().map(Cell::get).collect();
        assert_eq!(bounds, [BLOCK as i64 - 1, -1, -1, -1]);
    }

    #[test]
    fn equal_values_are_all_offered() {
        let (mut bounds, values) = (Bounds::default(), vec![5; 3 * BLOCK + 1]);
        for (at, value) in values.iter().enumerate() {
            bounds.push(at, *value);
        }
        assert_eq!(largest(&bounds, &values, 2).1, 3 * BLOCK + 1);
    }
}
