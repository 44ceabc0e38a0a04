//! The lock of the counters: all but free for the one that counts, dearer for those that look in from time to time.
//!
//! A locked instruction waits until all earlier stores have left the processor, which costs more than the add that it
//! protects. So there are two ways in. The *turn* ([`Turn`]) is for callers of whom there is never more than one at a
//! time, such as whoever holds Python's interpreter lock: it raises a flag by a plain store, looks whether somebody
//! else is inside, and goes. *Others* (the flusher, readers without the interpreter lock) exclude each other by a
//! compare-and-swap, then have the kernel put a full barrier into every running thread (`membarrier`, about a
//! microsecond; ten times as long in a virtual machine), and look at the turn's flag. It is Dekker's algorithm with the
//! whole price on one side. Where the kernel has no such call both sides pay.
//!
//! The turn does not wait for the kernel. Of the others, the one that is next raises a flag before the kernel's barrier
//! and another one behind it, and goes in after the second. The turn looks at the first; while that is up it pays for a
//! barrier of its own and waits only where it sees the second one.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod barrier;
mod sync;
mod waiting;

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{Ordering, compiler_fence};
use sync::{AtomicBool, Cell, CellMut, fence};
use waiting::Waiting;

/// A proof that no other thread has one just now.
#[derive(Clone, Copy)]
pub struct Turn<'a>(PhantomData<(&'a (), *const ())>);

impl Turn<'_> {
    /// Say that it is this thread's turn.
    ///
    /// # Safety
    /// As long as it lives, no other thread may have a `Turn`, and between the end of another thread's and the
    /// beginning of this one there must be what makes its stores visible, as the handing over of a lock does. Python's
    /// interpreter lock held throughout is such a proof, where there is one.
    #[must_use]
    #[inline]
    pub unsafe fn assume() -> Self {
        Turn(PhantomData)
    }
}

/// Exclusive access to a `T` for short sections.
pub struct ShortLock<T> {
    /// The turn is inside, or about to look whether it may be.
    turn_inside: AtomicBool,
    /// The turn waits for the others: no further one of them goes in before it.
    turn_waits: AtomicBool,
    /// One of the others is inside, or will be: every turn from the kernel's barrier on looks at the next flag.
    other_comes: AtomicBool,
    /// One of the others is inside, or about to look whether it may be.
    other_inside: AtomicBool,
    /// The kernel puts barriers into other threads.
    one_sided: bool,
    value: Cell<T>,
}

// SAFETY: the value is reached through a guard only, and there is one guard at a time (module text).
unsafe impl<T: Send> Sync for ShortLock<T> {}

impl<T> ShortLock<T> {
    /// A lock, and what it protects.
    #[must_use]
    pub fn new(value: T) -> Self {
        ShortLock {
            turn_inside: AtomicBool::new(false),
            turn_waits: AtomicBool::new(false),
            other_comes: AtomicBool::new(false),
            other_inside: AtomicBool::new(false),
            one_sided: barrier::register(),
            value: Cell::new(value),
        }
    }

    /// The way in for any thread. It must not have a guard already.
    pub fn lock(&self) -> ShortGuard<'_, T> {
        let mut waiting = Waiting::default();
        while self.turn_waits.load(Ordering::Relaxed) {
            waiting.wait();
        }
        while self
            .other_comes
            .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            waiting.wait();
        }
        if self.one_sided {
            barrier::in_all_threads();
        } else {
            fence(Ordering::SeqCst);
        }
        self.other_inside.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        while self.turn_inside.load(Ordering::Acquire) {
            waiting.wait();
        }
        ShortGuard {
            value: ManuallyDrop::new(self.value.get()),
            inside: &self.other_inside,
            comes: Some(&self.other_comes),
        }
    }

    /// The way in for the thread whose turn it is. It must not have a guard already.
    #[inline]
    pub fn lock_in_turn(&self, _turn: Turn<'_>) -> ShortGuard<'_, T> {
        self.turn_inside.store(true, Ordering::Relaxed);
        self.barrier_of_turn();
        if self.other_comes.load(Ordering::Acquire) {
            self.wait_in_turn();
        }
        ShortGuard {
            value: ManuallyDrop::new(self.value.get()),
            inside: &self.turn_inside,
            comes: None,
        }
    }

    #[inline]
    fn barrier_of_turn(&self) {
        if self.one_sided {
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
    }

    #[cold]
    fn wait_in_turn(&self) {
        fence(Ordering::SeqCst);
        if !self.other_inside.load(Ordering::Acquire) {
            return; // it will see our flag
        }
        self.turn_waits.store(true, Ordering::Relaxed);
        let mut waiting = Waiting::default();
        loop {
            // Step back: the other one waits for this flag.
            self.turn_inside.store(false, Ordering::Release);
            while self.other_inside.load(Ordering::Relaxed) {
                waiting.wait();
            }
            self.turn_inside.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if !self.other_inside.load(Ordering::Acquire) {
                break;
            }
        }
        self.turn_waits.store(false, Ordering::Relaxed);
    }
}

/// The section: ends when this is dropped.
pub struct ShortGuard<'a, T> {
    /// Its access ends before the first flag goes down.
    value: ManuallyDrop<CellMut<T>>,
    inside: &'a AtomicBool,
    comes: Option<&'a AtomicBool>,
}

impl<T> Deref for ShortGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard is the only one.
        unsafe { CellMut::deref(&self.value) }
    }
}

impl<T> DerefMut for ShortGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard is the only one.
        unsafe { CellMut::deref(&self.value) }
    }
}

impl<T> Drop for ShortGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: nobody uses it after this.
        unsafe { ManuallyDrop::drop(&mut self.value) };
        self.inside.store(false, Ordering::Release);
        if let Some(comes) = self.comes {
            comes.store(false, Ordering::Release);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Mutex;

    const ROUNDS: u64 = 3_000;

    fn nobody_is_lost(lock: &ShortLock<[u64; 2]>) {
        let turn = Mutex::new(());
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let turn = &turn;
                scope.spawn(move || {
                    for _ in 0..ROUNDS {
                        let mut guard = if thread % 4 == 0 {
                            lock.lock()
                        } else {
                            let _held = turn.lock().unwrap();
                            // SAFETY: the mutex is held until the guard is dropped, below and above.
                            let mut guard = lock.lock_in_turn(unsafe { Turn::assume() });
                            guard[0] += 1;
                            guard[1] += 1;
                            assert_eq!(guard[0], guard[1]);
                            continue;
                        };
                        guard[0] += 1;
                        guard[1] += 1;
                        assert_eq!(guard[0], guard[1]);
                    }
                });
            }
        });
        assert_eq!(*lock.lock(), [8 * ROUNDS; 2]);
    }

    #[test]
    fn eight_threads_lose_nothing() {
        let lock = ShortLock::new([0; 2]);
        nobody_is_lost(&lock);
    }

    #[test]
    fn eight_threads_lose_nothing_where_the_kernel_does_not_help() {
        let mut lock = ShortLock::new([0; 2]);
        lock.one_sided = false;
        nobody_is_lost(&lock);
    }
}
