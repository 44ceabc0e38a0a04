//! Where a file is: so that a copy or a restored backup can be told from the original.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags};

/// The place of a file. Compare with [`Place::is_same`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Device number: major << 32 | minor. It may change from boot to boot.
    pub device: u64,
    pub inode: u64,
    /// Seconds and nanoseconds since 1970; `None` where the file system keeps no birth time.
    pub birth: Option<(i64, u32)>,
}

impl Place {
    /// The same file: inode and birth time, or device and inode where there is no birth time.
    pub fn is_same(&self, other: &Self) -> bool {
        self.inode == other.inode
            && match (self.birth, other.birth) {
                (Some(mine), Some(theirs)) => mine == theirs,
                (None, None) => self.device == other.device,
                _ => false,
            }
    }
}

/// The place of the file at `path` (the link itself, where it is one).
///
/// # Errors
/// What `statx` says, for instance `NotFound`.
pub fn of(path: &Path) -> io::Result<Place> {
    let wanted = StatxFlags::INO | StatxFlags::BTIME;
    let found = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, wanted)?;
    Ok(place(&found))
}

/// The place of an open file.
pub(crate) fn of_file(file: &fs::File) -> io::Result<Place> {
    let wanted = StatxFlags::INO | StatxFlags::BTIME;
    let found = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, wanted)?;
    Ok(place(&found))
}

fn place(found: &rustix::fs::Statx) -> Place {
    let known = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
    Place {
        device: u64::from(found.stx_dev_major) << 32 | u64::from(found.stx_dev_minor),
        inode: found.stx_ino,
        birth: known.then_some((found.stx_btime.tv_sec, found.stx_btime.tv_nsec)),
    }
}

/// The id of this boot of the machine; zeros where it cannot be read, which equals no boot.
pub fn boot_id() -> [u8; 16] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    if digits.len() != 32 {
        return [0; 16];
    }
    u128::from_str_radix(&digits, 16).map_or([0; 16], u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_elsewhere_and_a_renamed_file_is_not() {
        let dir = std::env::temp_dir().join(format!("crdtstats-place-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (first, copy, moved) = (dir.join("a"), dir.join("b"), dir.join("c"));
        fs::write(&first, "x").unwrap();
        fs::copy(&first, &copy).unwrap();
        let place = of(&first).unwrap();
        assert!(!place.is_same(&of(&copy).unwrap()));
        fs::rename(&first, &moved).unwrap();
        assert!(place.is_same(&of(&moved).unwrap()));
        assert!(place.is_same(&of_file(&fs::File::open(&moved).unwrap()).unwrap()));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_boot_id_stays_the_same_in_one_boot() {
        assert_eq!(boot_id(), boot_id());
    }
}
