//! A thread that has the kernel bring memory before the writer needs it: the next pages of the file, and the next table.
//! Both are zeroed by the kernel, which takes as long as counting on the keys that fill them.
//!
//! It changes no byte: what it does is advice for pages that are mapped, and a table that nobody knows. So nothing
//! depends on when, or whether, it comes to do it; a writer that is faster has its pages brought when it uses them.
//! It has the priority of any thread: with a lower one it would be stopped while it holds what the kernel makes others
//! wait for. It begins with the first request, sleeps without a timeout, and is waited for when the journal goes. A forked
//! child has no such thread, and must not touch what it shares.
//!
//! The next table is there, zeroed, from the last thirty-second part of the one before on; a store that stops growing just
//! then keeps both.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::map::View;
use crate::table::Places;

/// It calls the kernel, and little else.
const STACK_BYTES: usize = 128 << 10;

/// What is to be done, and what was done.
#[derive(Default)]
struct Desk {
    /// Bytes of the file, from and to.
    pages: Option<(usize, usize)>,
    /// Words of a table, until it is made, or not wanted any more.
    table: Option<usize>,
    made: Option<Places>,
    stops: bool,
}

#[derive(Default)]
struct Shared {
    desk: Mutex<Desk>,
    bell: Condvar,
}

/// The writer's side.
pub(crate) struct Bringer {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl Bringer {
    /// `None` where the system gives no further thread.
    pub(crate) fn start(view: View) -> Option<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = Builder::new()
            .name("crdtstats-pages".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || theirs.serve(&view))
            .ok()?;
        Some(Self { shared, thread })
    }

    /// Asks for pages of the mapped file. Where the last ones are not there yet, they are left to the writer.
    pub(crate) fn bring(&self, from: usize, to: usize) {
        self.shared.desk().pages = Some((from, to));
        self.shared.bell.notify_one();
    }

    /// Asks for a table.
    pub(crate) fn make_table(&self, words: usize) {
        self.shared.desk().table = Some(words);
        self.shared.bell.notify_one();
    }

    /// The table that was asked for, if it is ready.
    pub(crate) fn take_table(&self) -> Option<Places> {
        let mut desk = self.shared.desk();
        desk.table = None;
        desk.made.take()
    }

    /// Ends the thread. Cost: until it has done what it is at, some milliseconds; a tenth of a second for
    /// the table of ten million keys.
    pub(crate) fn stop(self) {
        self.shared.desk().stops = true;
        self.shared.bell.notify_one();
        let _ = self.thread.join(); // it holds nothing that a panic could break
    }
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, view: &View) {
        let mut desk = self.desk();
        while !desk.stops {
            // Pages first: they are needed soon.
            if let Some((from, to)) = desk.pages.take() {
                drop(desk);
                view.bring(from, to);
                desk = self.desk();
            } else if let Some(words) = desk.table {
                drop(desk);
                let made = Places::of(words).ok();
                if let Some(places) = &made {
                    places.bring();
                }
                desk = self.desk();
                if desk.table == Some(words) {
                    (desk.table, desk.made) = (None, made);
                } else {
                    // To unmap it may take long, and a writer may wait for the desk.
                    drop(desk);
                    drop(made);
                    desk = self.desk();
                }
            } else {
                desk = self.bell.wait(desk).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::Map;

    fn bringer() -> Bringer {
        Bringer::start(Map::reserve().unwrap().view()).unwrap()
    }

    fn wait_for(bringer: &Bringer) -> Places {
        loop {
            if bringer.shared.desk().made.is_some() {
                return bringer.take_table().unwrap();
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_table_is_made_once_and_only_while_it_is_wanted() {
        let bringer = bringer();
        assert!(bringer.take_table().is_none());
        bringer.make_table(1 << 15);
        assert_eq!(wait_for(&bringer).len(), 1 << 15);
        assert!(bringer.take_table().is_none());
        for words in [1 << 20, 1 << 16] {
            bringer.make_table(words);
            drop(bringer.take_table()); // perhaps in the middle of it
        }
        bringer.make_table(1 << 17);
        assert_eq!(wait_for(&bringer).len(), 1 << 17);
        bringer.stop();
    }

    #[test]
    fn it_can_be_stopped_at_any_time() {
        for busy in 0..50 {
            let bringer = bringer();
            // Pages that are not mapped are nobody's.
            bringer.bring(busy << 12, usize::MAX);
            if busy % 2 == 0 {
                bringer.make_table(1 << 18);
            }
            if busy % 3 == 0 {
                std::thread::yield_now();
            }
            bringer.stop();
        }
    }
}
