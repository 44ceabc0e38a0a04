//! Memory that is asked for before it is needed.

/// Keys that are on their way from memory at once: more than a processor's line-fill buffers, fewer than a page.
pub(crate) const GROUP: usize = 32;

/// Ask the processor to fetch the line in which something begins.
#[inline]
pub(crate) fn prefetch<T>(at: Option<&T>) {
    #[cfg(target_arch = "x86_64")]
    if let Some(at) = at {
        // SAFETY: a prefetch has no effect on memory, and the reference is valid.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(at).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
