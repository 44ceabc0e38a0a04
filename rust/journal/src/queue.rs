//! A first-in-first-out list of slots: pushed one by one, taken in slices.

use crate::slot::Slot;

/// Oldest first, so that "take as many as there are now" takes exactly what was there. A plain vector and a mark:
/// a push is as cheap as a `Vec`'s, which a `VecDeque`'s is not.
#[derive(Default)]
pub(crate) struct Queue {
    slots: Vec<Slot>,
    taken: usize,
}

impl Queue {
    #[inline]
    pub(crate) fn push(&mut self, slot: Slot) {
        self.slots.push(slot);
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.taken
    }

    /// Moves the oldest `max` to the end of `out`. Cost: those, amortised.
    pub(crate) fn take(&mut self, max: usize, out: &mut Vec<Slot>) {
        let end = self.taken.saturating_add(max).min(self.slots.len());
        out.extend_from_slice(self.slots.get(self.taken..end).unwrap_or(&[]));
        self.taken = end;
        if self.taken == self.slots.len() {
            self.slots.clear();
            self.taken = 0;
        } else if self.taken > self.slots.len() / 2 {
            self.slots.drain(..self.taken);
            self.taken = 0;
        }
    }
}
