//! The file of a live journal: made under a temporary name, locked, grown by reserved blocks, unlinked.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, FallocateFlags, FlockOperation, IFlags, RenameFlags};
use rustix::io::Errno;

use crate::error::JournalError;

pub(crate) const SUFFIX: &str = "journal";
pub(crate) const TEMPORARY_SUFFIX: &str = "journal-tmp";
pub(crate) const DAMAGED_SUFFIX: &str = "damaged";

/// The first size and the unit of all: a multiple of every page size there is.
const STEP_BYTES_MIN: u64 = 64 << 10;
/// A larger step would hold up the one call that needs it for too long (and take space that is perhaps never used).
const STEP_BYTES_MAX: u64 = 64 << 20;
/// Somebody who cleans up can take a new temporary file before it is locked: then another is made.
const MAKE_ATTEMPTS: usize = 8;

pub(crate) struct JournalFile {
    /// Shared only so that a fork can keep it from being closed.
    pub(crate) file: Arc<File>,
    pub(crate) path: PathBuf,
    pub(crate) allocated: u64,
}

/// Makes `directory/name.journal` with the header that `header` gives for it: locked, header durable, then named.
pub(crate) fn make(
    directory: &Path,
    name: &str,
    header: impl Fn(&File) -> io::Result<Vec<u8>>,
) -> Result<JournalFile, JournalError> {
    let temporary = directory.join(format!("{name}.{TEMPORARY_SUFFIX}"));
    let path = directory.join(format!("{name}.{SUFFIX}"));
    let file = make_locked(&temporary)?;
    let mut made = JournalFile {
        file: Arc::new(file),
        path: temporary,
        allocated: 0,
    };
    let named = name_durably(&mut made, path, header);
    if named.is_err() {
        let _ = fs::remove_file(&made.path);
    }
    named.map(|()| made)
}

fn name_durably(
    made: &mut JournalFile,
    path: PathBuf,
    header: impl Fn(&File) -> io::Result<Vec<u8>>,
) -> Result<(), JournalError> {
    // On copy-on-write file systems only a file without it keeps its reserved blocks. Refused elsewhere: no harm.
    if let Ok(flags) = rustix::fs::ioctl_getflags(&made.file) {
        let _ = rustix::fs::ioctl_setflags(&made.file, flags | IFlags::NOCOW);
    }
    made.grow(STEP_BYTES_MIN, u64::MAX)?;
    header(&made.file)
        .and_then(|bytes| made.file.write_all_at(&bytes, 0))
        .and_then(|()| made.file.sync_all())
        .map_err(|error| JournalError::io("write the header of", &made.path, error))?;
    rename_new(&made.path, &path).map_err(|error| JournalError::io("name", &path, error))?;
    made.path = path;
    sync_directory_of(&made.path)
}

fn make_locked(path: &Path) -> Result<File, JournalError> {
    for _ in 0..MAKE_ATTEMPTS {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(
                |error| match error.raw_os_error().map(Errno::from_raw_os_error) {
                    Some(Errno::NOSPC | Errno::DQUOT) => JournalError::Full {
                        path: path.to_path_buf(),
                        needed: STEP_BYTES_MIN,
                    },
                    _ => JournalError::io("make", path, error),
                },
            )?;
        if lock(&file).is_ok() && is_named(&file, path) {
            return Ok(file);
        }
    }
    Err(JournalError::Locked {
        path: path.to_path_buf(),
    })
}

/// Takes the lock of an open journal, or says `WOULDBLOCK`. flock: closing another descriptor does not free it.
pub(crate) fn lock(file: &File) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive))
}

/// Whether the name still leads to the open file.
pub(crate) fn is_named(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(mine), Ok(named)) => mine.dev() == named.dev() && mine.ino() == named.ino(),
        _ => false,
    }
}

/// Renames without replacing anything.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system without that flag. The directory's lock keeps others from making the name in between.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            if fs::symlink_metadata(to).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        other => other.map_err(Into::into),
    }
}

/// Makes the names in the directory of `path` durable.
pub(crate) fn sync_directory_of(path: &Path) -> Result<(), JournalError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| JournalError::io("sync the directory of", path, error))
}

/// Unlinks a journal, durably.
pub(crate) fn unlink(path: &Path) -> Result<(), JournalError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(JournalError::io("remove", path, error))
        }
        _ => sync_directory_of(path),
    }
}

impl JournalFile {
    /// Reserves blocks so that the file has `needed` bytes at least, in a proportional step where there is room for
    /// one, up to `limit`. Nothing has changed when it fails.
    pub(crate) fn grow(&mut self, needed: u64, limit: u64) -> Result<(), JournalError> {
        let least = needed.next_multiple_of(STEP_BYTES_MIN);
        if least > limit {
            return Err(JournalError::TooLarge {
                path: self.path.clone(),
                limit,
            });
        }
        let step = (self.allocated / 2).clamp(STEP_BYTES_MIN, STEP_BYTES_MAX);
        let wanted = (self.allocated + step)
            .next_multiple_of(STEP_BYTES_MIN)
            .clamp(least, limit.max(least));
        let wanted = if self.allocated == 0 { least } else { wanted };
        let mut got = self.allocate(wanted);
        if got.is_err() && wanted > least {
            got = self.allocate(least);
        }
        match got {
            Ok(()) => Ok(()),
            Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Err(JournalError::Full {
                path: self.path.clone(),
                needed: least - self.allocated,
            }),
            Err(error) => Err(JournalError::io("reserve blocks of", &self.path, error)),
        }
    }

    fn allocate(&mut self, to: u64) -> Result<(), Errno> {
        let (from, bytes) = (self.allocated, to - self.allocated);
        let got = rustix::io::retry_on_intr(|| {
            rustix::fs::fallocate(&self.file, FallocateFlags::empty(), from, bytes)
        });
        let got = match got {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.write_zeros(from, to),
            other => other,
        };
        match got {
            Ok(()) => self.allocated = to,
            // What a failed call reserved is given back; if that fails too, it is only space.
            Err(_) => drop(rustix::fs::ftruncate(&self.file, from)),
        }
        got
    }

    /// For file systems that cannot reserve: written blocks are reserved blocks.
    fn write_zeros(&self, from: u64, to: u64) -> Result<(), Errno> {
        let zeros = vec![0; STEP_BYTES_MIN as usize];
        let mut at = from;
        while at < to {
            self.file
                .write_all_at(&zeros, at)
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            at += STEP_BYTES_MIN;
        }
        Ok(())
    }
}
