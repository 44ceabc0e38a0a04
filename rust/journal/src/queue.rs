//! A first-in-first-out list: pushed one by one, taken in pieces.

use std::collections::VecDeque;

/// Items of a piece. A piece is what one `take` gives at most; it bounds how long a writer waits for a taker.
const PIECE: usize = 512;

/// What is taken at once, oldest first.
#[derive(Debug, PartialEq)]
pub(crate) enum Piece<T> {
    Items(Vec<T>),
    Run(Run),
}

/// Records that lie one behind the other, and were pushed in this order: nothing has to be kept of each.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub(crate) struct Run {
    /// The offset of the first.
    pub from: usize,
    /// Where the last one ends.
    to: usize,
    pub count: usize,
}

/// Oldest first, so that "take as many as there are now" takes exactly what was there. In pieces: a push never moves
/// what is there, and what was taken gives its memory back.
pub(crate) struct Queue<T> {
    full: VecDeque<Piece<T>>,
    /// The newest piece is one of these two, the other one is empty.
    last: Vec<T>,
    run: Run,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Queue {
            full: VecDeque::new(),
            last: Vec::new(),
            run: Run::default(),
        }
    }
}

impl<T> Queue<T> {
    #[inline]
    pub(crate) fn push(&mut self, item: T) {
        if self.run.count != 0 {
            self.close_run();
        }
        if self.last.len() >= PIECE {
            self.close_piece(Vec::with_capacity(PIECE));
        }
        self.last.push(item);
    }

    /// As [`Queue::push`], of the record from `from` to `to`.
    #[inline]
    pub(crate) fn push_record(&mut self, from: usize, to: usize, item: T) {
        let is_next = self.run.to == from && (1..PIECE).contains(&self.run.count);
        if is_next {
            self.run.to = to;
            self.run.count += 1;
        } else {
            self.push_first_record(from, to, item);
        }
    }

    #[cold]
    fn push_first_record(&mut self, from: usize, to: usize, item: T) {
        // No run splits a piece: who counts on new and old keys by turns would get a piece for each.
        if (1..PIECE).contains(&self.last.len()) {
            self.last.push(item);
            return;
        }
        if self.run.count != 0 {
            self.close_run();
        }
        if !self.last.is_empty() {
            self.close_piece(Vec::new());
        }
        self.run = Run { from, to, count: 1 };
    }

    #[cold]
    fn close_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        self.full.push_back(Piece::Run(run));
    }

    #[cold]
    fn close_piece(&mut self, next: Vec<T>) {
        let piece = std::mem::replace(&mut self.last, next);
        self.full.push_back(Piece::Items(piece));
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // Pieces are closed by a push, which leaves an item in the newest one.
        self.last.is_empty() && self.run.count == 0
    }

    pub(crate) fn len(&self) -> usize {
        let full = self.full.iter().map(Piece::len).sum::<usize>();
        full + self.last.len() + self.run.count
    }

    /// Takes the oldest piece: as many items as there are, 512 at most. Cost: constant.
    pub(crate) fn take(&mut self) -> Piece<T> {
        match self.full.pop_front() {
            Some(piece) => piece,
            None if self.run.count != 0 => Piece::Run(std::mem::take(&mut self.run)),
            None => Piece::Items(std::mem::take(&mut self.last)),
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

impl<T> Piece<T> {
    fn len(&self) -> usize {
        match self {
            Piece::Items(items) => items.len(),
            Piece::Run(run) => run.count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of records of 8 bytes whose items are their offsets.
    fn items(piece: Piece<usize>) -> Vec<usize> {
        match piece {
            Piece::Items(items) => items,
            Piece::Run(run) => {
                assert_eq!(run.to, run.from + run.count * 8);
                (0..run.count).map(|n| run.from + n * 8).collect()
            }
        }
    }

    #[test]
    fn the_oldest_come_first_and_all_come() {
        let mut queue = Queue::default();
        let (mut taken, mut pushed) = (Vec::new(), 0);
        for more in [1, PIECE - 1, 0, 1, 3 * PIECE, 7] {
            (0..more).for_each(|n| queue.push(pushed + n));
            pushed += more;
            let piece = items(queue.take());
            taken.extend_from_slice(&piece);
            queue.reuse(piece);
        }
        while !queue.is_empty() {
            assert_eq!(queue.len(), pushed - taken.len());
            taken.extend(items(queue.take()));
        }
        assert_eq!(taken, (0..pushed).collect::<Vec<_>>());
    }

    #[test]
    fn records_come_in_their_order_among_items() {
        let (mut queue, mut pushed, mut taken) = (Queue::default(), Vec::new(), Vec::new());
        let mut end = 8;
        for round in 0..40 {
            for n in 0..round * 53 % 1200 {
                let (is_record, has_gap) = (round % 3 != 0, n % 211 == 210);
                if is_record {
                    end += if has_gap { 8 } else { 0 };
                    queue.push_record(end, end + 8, end);
                    pushed.push(end);
                    end += 8;
                } else {
                    queue.push(n);
                    pushed.push(n);
                }
                if n % 700 == 1 {
                    taken.extend(items(queue.take()));
                }
            }
            assert_eq!(queue.len(), pushed.len() - taken.len());
            assert_eq!(queue.is_empty(), taken.len() == pushed.len());
        }
        while !queue.is_empty() {
            let piece = items(queue.take());
            assert!((1..=PIECE).contains(&piece.len()));
            taken.extend(piece);
        }
        assert_eq!(taken, pushed);
    }

    #[test]
    fn records_and_items_by_turns_share_pieces() {
        let mut queue = Queue::default();
        (0..10 * PIECE).for_each(|n| {
            queue.push(n);
            queue.push_record(n * 8, n * 8 + 8, n);
        });
        assert!(queue.full.len() <= 40, "{}", queue.full.len());
    }
}
