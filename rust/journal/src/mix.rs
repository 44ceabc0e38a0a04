//! A small keyed hash: for the key table, and for the checksums in the file.
//!
//! Our own, because the file format must not change with a dependency's release or with the machine: little-endian
//! words, folded 64 × 64 → 128 bit multiplications. It is no cryptographic hash. Who does not know the seed has no
//! simple way to make keys that collide, as every word of input meets a secret word before it is multiplied.

/// Odd constants with about half of their bits set (fractions of square roots of primes).
const A: u64 = 0x6a09_e667_f3bc_c909;
const B: u64 = 0xbb67_ae85_84ca_a73b;
const C: u64 = 0x3c6e_f372_fe94_f82b;

/// The hash with its two secret words.
#[derive(Clone, Copy)]
pub(crate) struct Mixer {
    start: u64,
    key: u64,
}

impl Mixer {
    pub(crate) fn new(low: u64, high: u64) -> Self {
        let start = fold(low ^ A, high ^ B);
        Self {
            start,
            key: fold(start ^ high, low ^ C),
        }
    }

    /// The hash of `bytes`. Cost: one multiplication for 16 bytes, and two.
    #[inline]
    pub(crate) fn mix(self, bytes: &[u8]) -> u64 {
        let mut state = self.start;
        // More than 16 bytes: whole blocks, then the last 16, which overlap them: no branch depends on the tail.
        let (first, second) = match bytes.last_chunk::<16>() {
            Some(last) => {
                let (blocks, _) = bytes.as_chunks::<16>();
                for block in blocks {
                    let (first, second) = words(block);
                    state = fold(first ^ state, second ^ self.key);
                }
                words(last)
            }
            None => words(bytes),
        };
        fold(
            fold(first ^ state, second ^ self.key),
            bytes.len() as u64 ^ C,
        )
    }
}

/// Mixes two words into one.
#[inline]
pub(crate) fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Up to 16 bytes as two words; shorter ones overlap (the length is mixed in by the caller).
#[inline]
fn words(bytes: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (
            u64::from(u32::from_le_bytes(*first)),
            u64::from(u32::from_le_bytes(*last)),
        )
    } else {
        match *bytes {
            [a] => (u64::from(a), 0),
            [a, b] => (u64::from(a), u64::from(b)),
            [a, b, c] => (u64::from(a) | u64::from(b) << 8, u64::from(c)),
            _ => (0, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_in_files_must_never_change() {
        let mixer = Mixer::new(1, 2);
        let text: Vec<u8> = (0u8..40).collect();
        let got: Vec<u64> = [0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 32, 40]
            .map(|n| mixer.mix(&text[..n]))
            .to_vec();
        let all = got.iter().fold(0, |sum, word| fold(sum ^ word, A));
        assert_eq!(all, GOLDEN, "{all:#x}");
    }
    const GOLDEN: u64 = 0xaefc_2950_9d1c_fdb2;

    #[test]
    fn short_keys_do_not_collide() {
        let mixer = Mixer::new(7, 9);
        let mut seen: Vec<u64> = (0..200_000u32)
            .map(|i| mixer.mix(format!("site/{i}/views").as_bytes()) >> 24)
            .collect();
        seen.sort_unstable();
        seen.dedup();
        // 40 bits, 200k keys: 0.02 collisions expected.
        assert!(seen.len() >= 199_998, "{}", seen.len());
    }
}
