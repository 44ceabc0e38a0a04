//! The allocator of the process, which keeps what large work has used.

/// Give back what is free. GNU's allocator keeps free memory below anything that is still in use; others do not need it.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call may be made at any time, by any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
