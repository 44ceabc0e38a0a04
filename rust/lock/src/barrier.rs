//! `membarrier(2)`: a full barrier in every running thread of this process.

/// From linux/membarrier.h.
#[cfg(not(loom))]
const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
#[cfg(not(loom))]
const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

#[cfg(not(loom))]
fn call(command: libc::c_int) -> bool {
    // SAFETY: the call reads its arguments and changes no memory.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

/// Ask for it, once for each lock: a forked child has to ask again, and it costs nothing. False: there is none.
#[cfg(not(loom))]
pub(crate) fn register() -> bool {
    call(REGISTER_PRIVATE_EXPEDITED)
}

/// Cannot fail once [`register`] was true in this process.
#[cfg(not(loom))]
pub(crate) fn in_all_threads() {
    while !call(PRIVATE_EXPEDITED) {
        register();
        std::thread::yield_now();
    }
}

/// Loom knows no such call: both sides pay, which orders the same accesses.
#[cfg(loom)]
pub(crate) fn register() -> bool {
    false
}

#[cfg(loom)]
pub(crate) fn in_all_threads() {}
