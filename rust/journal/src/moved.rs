//! Which cells moved: a first-in-first-out list that a loop over rows writes without a branch.

use std::collections::VecDeque;

/// Room that is made at once: a slice of rows and more, so that hot cells, which come once, share it.
const PIECE: usize = 1 << 14;

/// Ordinals, oldest first.
#[derive(Default)]
pub(crate) struct Moved {
    full: VecDeque<Piece>,
    last: Piece,
    /// How many were ever taken.
    taken: u64,
}

#[derive(Default)]
struct Piece {
    all: Vec<u32>,
    count: usize,
    taken: usize,
}

impl Piece {
    fn rest(&self) -> &[u32] {
        self.all.get(self.taken..self.count).unwrap_or(&[])
    }
}

/// Where a loop notes what moves.
pub(crate) struct Notes<'a> {
    room: &'a mut [u32],
    count: &'a mut usize,
}

impl Notes<'_> {
    /// Notes an ordinal, or not.
    #[inline]
    pub(crate) fn note(&mut self, ordinal: u32, is_new: bool) {
        if let Some(place) = self.room.get_mut(*self.count) {
            *place = ordinal;
        }
        *self.count += usize::from(is_new);
    }
}

impl Moved {
    /// Room for so many notes.
    pub(crate) fn notes(&mut self, most: usize) -> Notes<'_> {
        if self.last.all.len() - self.last.count < most {
            let made = Piece {
                all: vec![0; most.max(PIECE)],
                ..Piece::default()
            };
            let last = std::mem::replace(&mut self.last, made);
            if !last.rest().is_empty() {
                self.full.push_back(last);
            }
        }
        Notes {
            room: &mut self.last.all,
            count: &mut self.last.count,
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.full.is_empty() && self.last.rest().is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        let full = self.full.iter().map(|piece| piece.rest().len());
        full.sum::<usize>() + self.last.rest().len()
    }

    /// How many were ever noted.
    pub(crate) fn noted(&self) -> u64 {
        self.taken + self.len() as u64
    }

    /// How many were ever taken: those that were noted first.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes the oldest ones, so many at most, and fewer before all are taken.
    pub(crate) fn take(&mut self, most: usize, out: &mut Vec<u32>) {
        let piece = self.full.front_mut().unwrap_or(&mut self.last);
        let rest = piece.rest();
        let taken = rest.get(..most).unwrap_or(rest);
        out.extend_from_slice(taken);
        let count = taken.len();
        piece.taken += count;
        self.taken += count as u64;
        if piece.rest().is_empty() {
            (piece.taken, piece.count) = (0, 0); // the last one is filled again
            self.full.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_come_first_and_all_come() {
        let mut moved = Moved::default();
        let (mut next, mut taken, mut expected) = (0u32, Vec::new(), Vec::new());
        for (most, takes) in [(1, 1), (PIECE, 0), (3, 2), (2 * PIECE, 1), (7, 200)] {
            let mut notes = moved.notes(most);
            for n in 0..most {
                notes.note(next, n % 3 != 1);
                if n % 3 != 1 {
                    expected.push(next);
                }
                next += 1;
            }
            for _ in 0..takes {
                moved.take(511, &mut taken);
                assert_eq!(moved.taken(), taken.len() as u64);
                assert_eq!(moved.len(), expected.len() - taken.len());
            }
        }
        assert_eq!(moved.noted(), expected.len() as u64);
        assert!(moved.is_empty());
        assert_eq!(taken, expected);
    }
}
