//! Unsigned LEB128, as protobuf and multiformats use it.

/// Append `n`, in its shortest form.
pub fn push(out: &mut Vec<u8>, mut n: u64) {
    while n > 0x7f {
        out.push((n as u8 & 0x7f) | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Bytes that [`push`] would append.
#[must_use]
pub fn len(n: u64) -> usize {
    // 7 bits a byte, at least one byte
    (64 - (n | 1).leading_zeros() as usize).div_ceil(7)
}

/// Read a number off the front of `bytes`: the number and what follows. `None` where it is truncated or passes 64 bits.
#[must_use]
pub fn split(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut n = 0u64;
    for (i, &byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if i == 9 && bits > 1 {
            return None;
        }
        n |= bits << (7 * i);
        if byte & 0x80 == 0 {
            return bytes.get(i + 1..).map(|rest| (n, rest));
        }
    }
    None
}

/// As [`split`], but a number that is not in its shortest form is refused (multiformats' rule).
#[must_use]
pub fn split_minimal(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (n, rest) = split(bytes)?;
    (bytes.len() - rest.len() == len(n)).then_some((n, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edges_come_back() {
        for n in [
            0,
            1,
            127,
            128,
            16383,
            16384,
            u64::from(u32::MAX),
            1 << 62,
            1 << 63,
            u64::MAX,
        ] {
            let mut out = Vec::new();
            push(&mut out, n);
            assert_eq!(out.len(), len(n));
            out.push(7);
            assert_eq!(split_minimal(&out), Some((n, &[7u8][..])));
            for cut in 0..out.len() - 1 {
                assert_eq!(split(&out[..cut]), None);
            }
        }
        assert_eq!(split(&[0xff; 11]), None);
        assert_eq!(
            split(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]),
            None
        );
        assert_eq!(split(&[0x80, 0]), Some((0, &[][..])));
        assert_eq!(split_minimal(&[0x80, 0]), None);
    }
}
