//! The first 4 KiB of a journal.
//!
//! ```text
//!    0  magic "CRDTSJNL"        8     32  generation            16
//!    8  version               u32     48  boot id               16
//!   12  incompatible flags    u32     64  inode                u64
//!   16  checksum (blake3)      16     72  birth seconds        i64
//!                                     80  birth nanoseconds    u32
//!                                     84  has a birth time     u32
//!                                     88  device               u64
//!                                     96  bytes of replica     u16
//!                                    104  replica              text
//! 2048  section                16   outside the checksum: changes while counting
//! 2064  sequence              u64
//! ```
//! The checksum covers bytes 0..16 and 32..2048. Zero where unused.

use crate::generation::Generation;
use crate::place::Place;

pub(crate) const HEADER_BYTES: usize = 4096;
/// Version 1 had no note before the text of a record; it was never released. Version 2 had no lanes, and is read as it
/// stands. Magic, version and their places stay for ever, so that any release can name another's.
pub(crate) const VERSION: u32 = 3;
const VERSION_MIN: u32 = 2;
/// Incompatible flags that this release knows: none yet.
const KNOWN_FLAGS: u32 = 0;
pub(crate) const SECTION_AT: usize = 2048;
pub(crate) const SEQUENCE_AT: usize = SECTION_AT + 16;

const MAGIC: [u8; 8] = *b"CRDTSJNL";
const REPLICA_AT: usize = 104;
/// The longest replica name: peer ids have 46 to 60 bytes, names of foreign replicas are no longer than keys.
pub const REPLICA_BYTES_MAX: usize = 1024;

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) replica: String,
    pub(crate) generation: Generation,
    pub(crate) boot_id: [u8; 16],
    pub(crate) place: Place,
    pub(crate) section: [u8; 16],
    pub(crate) sequence: u64,
}

/// Why a header is not one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Damaged,
    Version(u32),
    Flags(u32),
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let (seconds, nanoseconds) = self.place.birth.unwrap_or((0, 0));
        let replica = self.replica.as_bytes();
        let replica_bytes = u16::try_from(replica.len()).unwrap_or(0);
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 8, &VERSION.to_le_bytes());
        put(&mut bytes, 32, &self.generation.0);
        put(&mut bytes, 48, &self.boot_id);
        put(&mut bytes, 64, &self.place.inode.to_le_bytes());
        put(&mut bytes, 72, &seconds.to_le_bytes());
        put(&mut bytes, 80, &nanoseconds.to_le_bytes());
        put(
            &mut bytes,
            84,
            &u32::from(self.place.birth.is_some()).to_le_bytes(),
        );
        put(&mut bytes, 88, &self.place.device.to_le_bytes());
        put(&mut bytes, 96, &replica_bytes.to_le_bytes());
        put(&mut bytes, REPLICA_AT, replica);
        put(&mut bytes, SECTION_AT, &self.section);
        put(&mut bytes, SEQUENCE_AT, &self.sequence.to_le_bytes());
        let sum = checksum(&bytes);
        put(&mut bytes, 16, &sum);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        if bytes.len() != HEADER_BYTES || take::<8>(bytes, 0) != MAGIC {
            return Err(Unreadable::Damaged);
        }
        let version = u32::from_le_bytes(take(bytes, 8));
        if !(VERSION_MIN..=VERSION).contains(&version) {
            return Err(Unreadable::Version(version));
        }
        if take::<16>(bytes, 16) != checksum(bytes) {
            return Err(Unreadable::Damaged);
        }
        let flags = u32::from_le_bytes(take(bytes, 12));
        if flags & !KNOWN_FLAGS != 0 {
            return Err(Unreadable::Flags(flags));
        }
        let replica_bytes = usize::from(u16::from_le_bytes(take(bytes, 96)));
        let replica = bytes
            .get(REPLICA_AT..REPLICA_AT + replica_bytes.min(REPLICA_BYTES_MAX))
            .and_then(|text| std::str::from_utf8(text).ok())
            .ok_or(Unreadable::Damaged)?;
        let birth = (
            i64::from_le_bytes(take(bytes, 72)),
            u32::from_le_bytes(take(bytes, 80)),
        );
        Ok(Self {
            replica: replica.to_owned(),
            generation: Generation(take(bytes, 32)),
            boot_id: take(bytes, 48),
            place: Place {
                device: u64::from_le_bytes(take(bytes, 88)),
                inode: u64::from_le_bytes(take(bytes, 64)),
                birth: (u32::from_le_bytes(take(bytes, 84)) == 1).then_some(birth),
            },
            section: take(bytes, SECTION_AT),
            sequence: u64::from_le_bytes(take(bytes, SEQUENCE_AT)),
        })
    }
}

fn checksum(bytes: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(bytes.get(..16).unwrap_or(&[]));
    hasher.update(bytes.get(32..SECTION_AT).unwrap_or(&[]));
    take(hasher.finalize().as_bytes(), 0)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(to) = bytes.get_mut(at..at + value.len()) {
        to.copy_from_slice(value);
    }
}

/// `N` bytes at an offset; zeros beyond the end.
fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk::<N>())
        .copied()
        .unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            replica: "12D3KooWreplica".to_owned(),
            generation: Generation([7; 16]),
            boot_id: [9; 16],
            place: Place {
                device: 1 << 32 | 2,
                inode: 33,
                birth: Some((-5, 999)),
            },
            section: [1; 16],
            sequence: 44,
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let plain = Header {
            place: Place {
                birth: None,
                ..header().place
            },
            ..header()
        };
        for header in [header(), plain] {
            assert_eq!(Header::decode(&header.encode()), Ok(header));
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed_except_outside_the_checksum() {
        let bytes = header().encode();
        for at in 0..SECTION_AT {
            for bit in 0..8 {
                let mut bad = bytes;
                bad[at] ^= 1 << bit;
                let got = Header::decode(&bad);
                match at {
                    // 3 is one bit away from 2, which is read; but the checksum is of the other.
                    8 if bit == 0 => assert_eq!(got, Err(Unreadable::Damaged)),
                    8..12 => assert!(matches!(got, Err(Unreadable::Version(_))), "{at}"),
                    _ => assert_eq!(got, Err(Unreadable::Damaged), "{at}"),
                }
            }
        }
        let mut other = bytes;
        other[SEQUENCE_AT] ^= 1;
        assert!(Header::decode(&other).is_ok());
    }

    #[test]
    fn the_version_before_is_read() {
        let mut bytes = header().encode();
        bytes[8] = 2;
        let sum = checksum(&bytes);
        put(&mut bytes, 16, &sum);
        assert_eq!(Header::decode(&bytes), Ok(header()));
    }

    #[test]
    fn unknown_features_are_named() {
        let mut bytes = header().encode();
        bytes[12] = 4;
        let sum = checksum(&bytes);
        put(&mut bytes, 16, &sum);
        assert_eq!(Header::decode(&bytes), Err(Unreadable::Flags(4)));
    }
}
