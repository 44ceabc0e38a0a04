//! The two text alphabets of this world: base32 (RFC 4648, unpadded) and base58btc.

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// Text longer than this is no CID or peer id: base58 costs the square of its length.
const BASE58_BYTES_MAX: usize = 512;

fn digit(alphabet: &[u8], value: usize) -> char {
    alphabet.get(value).map_or('?', |&b| b as char)
}

/// Lower-case base32 without padding.
#[must_use]
pub fn to_base32(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut buffer, mut bits) = (0usize, 0);
    for &byte in bytes {
        buffer = (buffer << 8 | usize::from(byte)) & 0xfff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(digit(BASE32, buffer >> bits & 31));
        }
    }
    if bits > 0 {
        out.push(digit(BASE32, buffer << (5 - bits) & 31));
    }
    out
}

/// Bytes of lower-case unpadded base32; `None` for anything else, stray bits included.
#[must_use]
pub fn from_base32(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 5 / 8);
    let (mut buffer, mut bits) = (0usize, 0);
    for byte in text.bytes() {
        let value = BASE32.iter().position(|&b| b == byte)?;
        buffer = (buffer << 5 | value) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push((buffer >> bits & 0xff) as u8);
        }
    }
    (bits < 5 && buffer & ((1 << bits) - 1) == 0).then_some(out)
}

/// base58btc.
#[must_use]
pub fn to_base58(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|&&b| b == 0).count();
    let mut digits: Vec<u32> = Vec::new();
    for &byte in bytes {
        let mut carry = u32::from(byte);
        for d in &mut digits {
            carry += *d << 8;
            *d = carry % 58;
            carry /= 58;
        }
        while carry > 0 {
            digits.push(carry % 58);
            carry /= 58;
        }
    }
    std::iter::repeat_n('1', zeros)
        .chain(digits.iter().rev().map(|&d| digit(BASE58, d as usize)))
        .collect()
}

/// Bytes of base58btc; `None` for anything else.
#[must_use]
pub fn from_base58(text: &str) -> Option<Vec<u8>> {
    if text.len() > BASE58_BYTES_MAX {
        return None;
    }
    let zeros = text.bytes().take_while(|&b| b == b'1').count();
    let mut bytes: Vec<u32> = Vec::new();
    for byte in text.bytes() {
        let mut carry = u32::try_from(BASE58.iter().position(|&b| b == byte)?).ok()?;
        for b in &mut bytes {
            carry += *b * 58;
            *b = carry & 0xff;
            carry >>= 8;
        }
        while carry > 0 {
            bytes.push(carry & 0xff);
            carry >>= 8;
        }
    }
    Some(
        std::iter::repeat_n(0, zeros)
            .chain(bytes.iter().rev().map(|&b| b as u8))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_alphabets_give_back_what_they_took() {
        arbtest::arbtest(|u| {
            let bytes: Vec<u8> = u.arbitrary()?;
            let bytes: Vec<u8> = bytes.into_iter().take(100).collect();
            assert_eq!(
                from_base32(&to_base32(&bytes)).as_deref(),
                Some(bytes.as_slice())
            );
            assert_eq!(
                from_base58(&to_base58(&bytes)).as_deref(),
                Some(bytes.as_slice())
            );
            Ok(())
        });
    }

    #[test]
    fn known_values() {
        assert_eq!(to_base32(b"foobar"), "mzxw6ytboi");
        assert_eq!(to_base58(b"\0\0hello"), "11Cn8eVZg");
        assert_eq!(from_base32("mb"), None);
        assert_eq!(from_base32("m"), None);
        assert_eq!(from_base58("0"), None);
    }
}
