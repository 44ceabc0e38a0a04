//! A first-in-first-out list: pushed one by one, taken in slices.

use std::collections::VecDeque;

/// Items of a piece. A piece is what one `take` gives at most; it bounds how long a writer waits for a taker.
const PIECE: usize = 512;

/// Oldest first, so that "take as many as there are now" takes exactly what was there. In pieces: a push never moves
/// what is there, and what was taken gives its memory back.
pub(crate) struct Queue<T> {
    full: VecDeque<Vec<T>>,
    last: Vec<T>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Queue {
            full: VecDeque::new(),
            last: Vec::new(),
        }
    }
}

impl<T> Queue<T> {
    #[inline]
    pub(crate) fn push(&mut self, item: T) {
        if self.last.len() >= PIECE {
            self.close_piece();
        }
        self.last.push(item);
    }

    #[cold]
    fn close_piece(&mut self) {
        let next = Vec::with_capacity(PIECE);
        self.full.push_back(std::mem::replace(&mut self.last, next));
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // Pieces are closed by a push, which leaves an item in the last one.
        self.last.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.full.iter().map(Vec::len).sum::<usize>() + self.last.len()
    }

    /// Takes the oldest piece: as many items as there are, a thousand at most. Cost: constant.
    pub(crate) fn take(&mut self) -> Vec<T> {
        match self.full.pop_front() {
            Some(piece) => piece,
            None => std::mem::take(&mut self.last),
        }
    }

    /// Gives a piece that was taken back to be filled again, so that pushing and taking by turns asks for no memory.
    pub(crate) fn reuse(&mut self, mut piece: Vec<T>) {
        if self.last.capacity() == 0 {
            piece.clear();
            self.last = piece;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_come_first_and_all_come() {
        let mut queue = Queue::default();
        let (mut taken, mut pushed) = (Vec::new(), 0);
        for more in [1, PIECE - 1, 0, 1, 3 * PIECE, 7] {
            (0..more).for_each(|n| queue.push(pushed + n));
            pushed += more;
            let piece = queue.take();
            taken.extend_from_slice(&piece);
            queue.reuse(piece);
        }
        while !queue.is_empty() {
            assert_eq!(queue.len(), pushed - taken.len());
            taken.extend(queue.take());
        }
        assert_eq!(taken, (0..pushed).collect::<Vec<_>>());
    }
}
