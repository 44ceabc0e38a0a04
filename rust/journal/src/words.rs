//! A large array of zeros: from the kernel directly, so that it costs nothing before it is used, is refused rather than
//! fatal where there is no memory, and lies on huge pages where the kernel has them (a look-up in a large table costs
//! as much for the address as for the word).

use std::ffi::c_void;
use std::ptr::{NonNull, null_mut};

use rustix::mm::{Advice, MapFlags, ProtFlags};

use crate::error::JournalError;
use crate::map::prefetch_word;

/// What is smaller gets ordinary pages, so that small stores stay small.
const HUGE_BYTES_MIN: usize = 2 << 20;

/// Half words of a cache line of the processor.
pub const LINE_HALVES: usize = 16;
const LINE_WORDS: usize = LINE_HALVES / 2;

/// The array.
pub struct Words {
    base: NonNull<u64>,
    count: usize,
}

// SAFETY: it owns its memory, and reaches it by `&` and `&mut` as a `Vec` would.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// So many words, all 0. Cost: a call to the kernel, and later a page fault for each page, or huge page, used first.
    ///
    /// # Errors
    /// `NoMemory`.
    pub fn zeroed(count: usize) -> Result<Self, JournalError> {
        let no_memory = || JournalError::NoMemory { words: count };
        let bytes = count.checked_mul(size_of::<u64>()).ok_or_else(no_memory)?;
        if bytes == 0 {
            return Ok(Self::none());
        }
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no other memory.
        let address = unsafe {
            rustix::mm::mmap_anonymous(
                null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        };
        let base = address
            .ok()
            .and_then(|address| NonNull::new(address.cast()));
        let base: NonNull<u64> = base.ok_or_else(no_memory)?;
        if bytes >= HUGE_BYTES_MIN {
            // Advice only: a kernel without huge pages refuses.
            // SAFETY: the range is our own mapping, and the advice changes no byte of it.
            let _ = unsafe {
                rustix::mm::madvise(base.as_ptr().cast::<c_void>(), bytes, Advice::LinuxHugepage)
            };
        }
        Ok(Self { base, count })
    }

    /// Has the kernel bring all of it now.
    pub(crate) fn bring(&self) {
        let bytes = self.count * size_of::<u64>();
        if bytes == 0 {
            return;
        }
        // SAFETY: the range is our own mapping, and the advice changes no byte of it.
        let _ = unsafe {
            rustix::mm::madvise(
                self.base.as_ptr().cast::<c_void>(),
                bytes,
                Advice::LinuxPopulateWrite,
            )
        };
    }

    /// None.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            base: NonNull::dangling(),
            count: 0,
        }
    }

    /// The same memory as cache lines of the processor; a rest of less than one is left out.
    #[inline]
    #[must_use]
    pub fn lines(&self) -> &[[u32; LINE_HALVES]] {
        // SAFETY: so many lines are inside; half words need less alignment than words and have no invalid pattern.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().cast(), self.count / LINE_WORDS) }
    }

    /// Asks the processor to fetch one of [`Words::lines`].
    #[inline]
    pub fn prefetch_line(&self, line: usize) {
        if let Some(line) = self.lines().get(line) {
            prefetch_word(line.as_ptr().cast());
        }
    }

    /// As [`Words::lines`].
    #[inline]
    pub fn lines_mut(&mut self) -> &mut [[u32; LINE_HALVES]] {
        // SAFETY: as above, and `&mut self` is the only way to it.
        unsafe {
            std::slice::from_raw_parts_mut(self.base.as_ptr().cast(), self.count / LINE_WORDS)
        }
    }
}

impl std::ops::Deref for Words {
    type Target = [u64];

    #[inline]
    fn deref(&self) -> &[u64] {
        // SAFETY: so many words were mapped, zeroed, and are unmapped by `drop` only.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.count) }
    }
}

impl std::ops::DerefMut for Words {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u64] {
        // SAFETY: as above, and `&mut self` is the only way to it.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.count) }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        if self.count > 0 {
            let bytes = self.count * size_of::<u64>();
            // SAFETY: the range was mapped by `zeroed`, and nobody can reach it any more. Failure leaks it.
            let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast::<c_void>(), bytes) };
        }
    }
}
