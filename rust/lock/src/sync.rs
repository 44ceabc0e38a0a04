//! Atomics and cells: the standard ones, or those that loom watches.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, fence};

/// A value that is reached through a shared reference.
#[cfg(not(loom))]
pub(crate) struct Cell<T>(std::cell::UnsafeCell<T>);
#[cfg(loom)]
pub(crate) struct Cell<T>(loom::cell::UnsafeCell<T>);

/// The way to the value; loom takes it for an access until it is dropped.
#[cfg(not(loom))]
pub(crate) struct CellMut<T>(*mut T);
#[cfg(loom)]
pub(crate) struct CellMut<T>(loom::cell::MutPtr<T>);

impl<T> Cell<T> {
    pub fn new(value: T) -> Self {
        Self(value.into())
    }

    #[inline]
    pub fn get(&self) -> CellMut<T> {
        #[cfg(not(loom))]
        return CellMut(self.0.get());
        #[cfg(loom)]
        return CellMut(self.0.get_mut());
    }
}

impl<T> CellMut<T> {
    /// # Safety
    /// The cell lives, and nobody else has a reference to its value.
    #[inline]
    pub unsafe fn deref<'a>(&self) -> &'a mut T {
        // SAFETY: the caller's promise.
        #[cfg(not(loom))]
        return unsafe { &mut *self.0 };
        #[cfg(loom)]
        // SAFETY: as above; the lifetime is cut loose from that of the pointer.
        return unsafe { &mut *std::ptr::from_mut(self.0.deref()) };
    }
}
