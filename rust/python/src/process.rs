//! What Python lacks about processes and files: a file's place, and a life after `fork()` that disturbs no parent.
//!
//! The child of a fork has one thread and the locks of threads that are gone. So its handler only touches
//! atomics and `close(2)`: no lock, no allocation, no Python.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

pyo3::import_exception!(crdtstats.errors, InternalError);
pyo3::import_exception!(crdtstats.errors, UnavailableError);

/// Descriptors that a forked child closes. An open store has about three; 1024 is the usual limit of
/// descriptors of a process, and costs a child 4 KiB to look through.
const GUARDED_FDS_MAX: usize = 1024;
/// How often a guarded open is repeated because another thread was forking, and the wait between.
/// A fork of a large process takes a few milliseconds.
const GUARDED_OPEN_TRIES_MAX: u32 = 200;
const GUARDED_OPEN_WAIT: Duration = Duration::from_millis(1);

const NO_FD: RawFd = -1;

static GUARDED: [AtomicI32; GUARDED_FDS_MAX] = [const { AtomicI32::new(NO_FD) }; GUARDED_FDS_MAX];
/// Forks between this process and the one that imported the module.
static EPOCH: AtomicU32 = AtomicU32::new(0);
/// Forks of this process that have begun, and that are over: they differ while one is under way.
static FORKS_BEGUN: AtomicU32 = AtomicU32::new(0);
static FORKS_OVER: AtomicU32 = AtomicU32::new(0);
static INSTALLED: OnceLock<c_int> = OnceLock::new();

/// How often this process's line was forked since the module was imported: whoever keeps the number of his
/// birth knows by comparing whether he was inherited. One relaxed load.
#[inline]
pub fn fork_epoch() -> u32 {
    EPOCH.load(Ordering::Relaxed)
}

/// Has children of `fork()` close `fd`. False when the table is full.
#[must_use]
pub fn guard(fd: RawFd) -> bool {
    fd >= 0
        && GUARDED.iter().any(|slot| {
            slot.compare_exchange(NO_FD, fd, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        })
}

/// Takes `fd` back. True: it was guarded and is still open, so close it. False: this process does not own it
/// (a forked child, whose handler has closed it): leave the number alone.
pub fn release(fd: RawFd) -> bool {
    fd >= 0
        && GUARDED.iter().any(|slot| {
            slot.compare_exchange(fd, NO_FD, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        })
}

/// One guarded descriptor that somebody else closes: released before that, at the latest on drop.
#[derive(Debug)]
pub struct Guarded {
    fd: AtomicI32,
    epoch: u32,
}

impl Guarded {
    pub fn none() -> Self {
        Self {
            fd: AtomicI32::new(NO_FD),
            epoch: fork_epoch(),
        }
    }

    /// Guards `fd`, in the place of an earlier one.
    pub fn guard(&self, fd: RawFd) -> PyResult<()> {
        self.release();
        if !guard(fd) {
            return Err(table_full());
        }
        self.fd.store(fd, Ordering::Release);
        Ok(())
    }

    /// In a forked child nothing happens: there the number may be another file's by now.
    pub fn release(&self) {
        let fd = self.fd.swap(NO_FD, Ordering::AcqRel);
        if self.epoch == fork_epoch() {
            release(fd);
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.release();
    }
}

extern "C" fn before_fork() {
    FORKS_BEGUN.fetch_add(1, Ordering::SeqCst);
}

extern "C" fn after_fork_in_parent() {
    FORKS_OVER.fetch_add(1, Ordering::SeqCst);
}

extern "C" fn after_fork_in_child() {
    EPOCH.fetch_add(1, Ordering::Relaxed);
    FORKS_OVER.store(FORKS_BEGUN.load(Ordering::Relaxed), Ordering::Relaxed);
    // Last in, first out: whoever gets the directory's lock then finds its journals' locks free too.
    for slot in GUARDED.iter().rev() {
        let fd = slot.swap(NO_FD, Ordering::Relaxed);
        if fd >= 0 {
            // SAFETY: close(2) is async-signal-safe, and `guard` was told that the child is to close this.
            unsafe { libc::close(fd) };
        }
    }
}

fn install() -> PyResult<()> {
    // SAFETY: the handlers are `extern "C"`, touch atomics and close(2) only, and live as long as the module,
    // which Python never unloads.
    let status = *INSTALLED.get_or_init(|| unsafe {
        libc::pthread_atfork(
            Some(before_fork),
            Some(after_fork_in_parent),
            Some(after_fork_in_child),
        )
    });
    match status {
        0 => Ok(()),
        code => Err(std::io::Error::from_raw_os_error(code).into()),
    }
}

#[pyfunction(name = "fork_epoch")]
fn py_fork_epoch() -> u32 {
    fork_epoch()
}

#[pyfunction]
fn guard_fd(fd: RawFd) -> PyResult<()> {
    if fd < 0 {
        return Err(PyValueError::new_err("a file descriptor is never negative"));
    }
    if guard(fd) { Ok(()) } else { Err(table_full()) }
}

#[pyfunction]
fn release_fd(fd: RawFd) -> bool {
    release(fd)
}

/// A descriptor that is opened and unguarded while another thread forks would live on in the child, and a lock
/// on it with it. So: open, guard, and if a fork overlapped, throw that open file away and take a fresh one.
#[pyfunction]
fn open_guarded(path: PathBuf, flags: i32, mode: u32) -> PyResult<RawFd> {
    let flags = OFlags::from_bits_retain(flags.cast_unsigned()) | OFlags::CLOEXEC;
    for _ in 0..GUARDED_OPEN_TRIES_MAX {
        let over = FORKS_OVER.load(Ordering::SeqCst);
        let file = rustix::fs::open(&path, flags, Mode::from_raw_mode(mode)).map_err(os_error)?;
        if !guard(file.as_raw_fd()) {
            return Err(table_full());
        }
        if FORKS_BEGUN.load(Ordering::SeqCst) == over {
            return Ok(file.into_raw_fd());
        }
        release(file.as_raw_fd());
        drop(file);
        std::thread::sleep(GUARDED_OPEN_WAIT);
    }
    Err(UnavailableError::new_err(format!(
        "cannot open {} while other threads of this process keep forking: open before they start",
        path.display()
    )))
}

/// Unlocks nothing and flushes nothing: only closes, and only what this process owns.
#[pyfunction]
fn close_guarded(fd: RawFd) -> bool {
    let ours = release(fd);
    if ours {
        // SAFETY: `release` was true, so the descriptor is open and its one owner just gave it up.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
    ours
}

#[derive(FromPyObject)]
enum File {
    Fd(RawFd),
    Path(PathBuf),
}

#[pyfunction]
fn file_place(file: File) -> PyResult<(&'static str, u64, u64)> {
    match file {
        File::Fd(fd) if fd < 0 => Err(os_error(Errno::BADF)),
        // SAFETY: borrowed for these calls only; a number that is not open is answered with EBADF.
        File::Fd(fd) => place_of(unsafe { BorrowedFd::borrow_raw(fd) }),
        File::Path(path) => {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            place_of(rustix::fs::open(path, flags, Mode::empty()).map_err(os_error)?)
        }
    }
}

fn place_of(file: impl std::os::fd::AsFd) -> PyResult<(&'static str, u64, u64)> {
    if let Some((inode, birth_ns)) = birth(&file)? {
        return Ok(("birth", inode, birth_ns));
    }
    let stat: Stat = rustix::fs::fstat(&file).map_err(os_error)?;
    Ok(("device", stat.st_dev, stat.st_ino))
}

/// Inode and birth time in ns; `None` where the file system or the kernel tells no birth time.
fn birth(file: impl std::os::fd::AsFd) -> PyResult<Option<(u64, u64)>> {
    use rustix::fs::{StatxFlags, statx};
    let wanted = StatxFlags::INO | StatxFlags::BTIME;
    let facts = match statx(file, c"", AtFlags::EMPTY_PATH, wanted) {
        Ok(facts) => facts,
        // Some sandboxes refuse the call that they do not know.
        Err(Errno::NOSYS | Errno::PERM) => return Ok(None),
        Err(error) => return Err(os_error(error)),
    };
    if !StatxFlags::from_bits_retain(facts.stx_mask).contains(wanted) {
        return Ok(None);
    }
    let birth_ns = u64::try_from(facts.stx_btime.tv_sec)
        .ok()
        .and_then(|s| s.checked_mul(1_000_000_000))
        .and_then(|ns| ns.checked_add(u64::from(facts.stx_btime.tv_nsec)))
        .filter(|ns| *ns != 0);
    Ok(birth_ns.map(|ns| (facts.stx_ino, ns)))
}

#[pyfunction]
fn leak(object: Bound<'_, PyAny>) {
    std::mem::forget(object.unbind());
}

/// An extra reference that a forked child never gives back.
#[pyclass(frozen, module = "crdtstats._core")]
struct ParentOnly {
    /// Taken only on drop.
    object: Option<Py<PyAny>>,
    epoch: u32,
}

#[pymethods]
impl ParentOnly {
    #[new]
    fn new(object: Bound<'_, PyAny>) -> Self {
        Self {
            object: Some(object.unbind()),
            epoch: fork_epoch(),
        }
    }

    #[getter]
    fn object(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match &self.object {
            Some(object) => Ok(object.clone_ref(py)),
            None => Err(InternalError::new_err("a reference was used after its end")),
        }
    }

    #[getter]
    fn inherited(&self) -> bool {
        self.epoch != fork_epoch()
    }
}

impl Drop for ParentOnly {
    fn drop(&mut self) {
        if self.epoch != fork_epoch() {
            std::mem::forget(self.object.take());
        }
    }
}

fn table_full() -> PyErr {
    UnavailableError::new_err(format!(
        "more than {GUARDED_FDS_MAX} guarded file descriptors are open in this process: close some stores"
    ))
}

fn os_error(error: Errno) -> PyErr {
    std::io::Error::from(error).into()
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    install()?;
    m.add_function(wrap_pyfunction!(py_fork_epoch, m)?)?;
    m.add_function(wrap_pyfunction!(guard_fd, m)?)?;
    m.add_function(wrap_pyfunction!(release_fd, m)?)?;
    m.add_function(wrap_pyfunction!(open_guarded, m)?)?;
    m.add_function(wrap_pyfunction!(close_guarded, m)?)?;
    m.add_function(wrap_pyfunction!(file_place, m)?)?;
    m.add_function(wrap_pyfunction!(leak, m)?)?;
    m.add_class::<ParentOnly>()
}
