//! Text for bytes: base32 (RFC 4648, unpadded, either case) and base58btc.

use crate::error::{Fault, WireError};
use crate::limits::TEXT_BYTES_MAX;

const BASE32_LOWER: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const BASE32_UPPER: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Lower-case base32 of `bytes`.
#[must_use]
pub fn base32_lower(bytes: &[u8]) -> String {
    base32(bytes, BASE32_LOWER)
}

/// Upper-case base32 of `bytes`.
#[must_use]
pub fn base32_upper(bytes: &[u8]) -> String {
    base32(bytes, BASE32_UPPER)
}

fn base32(bytes: &[u8], alphabet: &[u8; 32]) -> String {
    let mut text = String::with_capacity((bytes.len() * 8).div_ceil(5));
    let (mut bits, mut count) = (0_u32, 0_u32);
    for &byte in bytes {
        bits = (bits << 8 | u32::from(byte)) & 0xfff;
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(symbol(alphabet, bits >> count & 31));
        }
    }
    if count > 0 {
        text.push(symbol(alphabet, bits << (5 - count) & 31));
    }
    text
}

fn symbol(alphabet: &[u8], index: u32) -> char {
    // Every index is below the alphabet's length: it was masked or is a remainder.
    char::from(alphabet.get(index as usize).copied().unwrap_or(b'?'))
}

/// The bytes of unpadded base32 text, all of one case. One byte string has one text.
pub fn parse_base32(text: &str, upper: bool) -> Result<Vec<u8>, WireError> {
    let alphabet = if upper { BASE32_UPPER } else { BASE32_LOWER };
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for (index, byte) in text.bytes().enumerate() {
        let value = position(alphabet, byte).ok_or_else(|| {
            WireError::new(
                "base32 text",
                index,
                Fault::Invalid("not a symbol of base32"),
            )
        })?;
        bits = (bits << 5 | value) & 0xfff;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    if count >= 5 || bits & ((1 << count) - 1) != 0 {
        return Err(WireError::new(
            "base32 text",
            text.len(),
            Fault::Invalid("has bits left over"),
        ));
    }
    Ok(bytes)
}

fn position(alphabet: &[u8], byte: u8) -> Option<u32> {
    alphabet
        .iter()
        .position(|&symbol| symbol == byte)
        .map(|index| index as u32)
}

/// Base58btc of `bytes`. Cost: the square of their number.
#[must_use]
pub fn base58(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    // Digits of base 58, the lowest first.
    let mut digits: Vec<u8> = Vec::with_capacity(bytes.len() * 7 / 5 + 1);
    for &byte in bytes.iter().skip(zeros) {
        let mut carry = u32::from(byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    let leading = std::iter::repeat_n('1', zeros);
    leading
        .chain(
            digits
                .iter()
                .rev()
                .map(|&digit| symbol(BASE58, u32::from(digit))),
        )
        .collect()
}

/// The bytes of base58btc text of at most `TEXT_BYTES_MAX` symbols.
pub fn parse_base58(text: &str) -> Result<Vec<u8>, WireError> {
    if text.len() > TEXT_BYTES_MAX {
        let fault = Fault::TooLarge {
            bytes: text.len(),
            max: TEXT_BYTES_MAX,
        };
        return Err(WireError::new("base58 text", 0, fault));
    }
    let ones = text.bytes().take_while(|&byte| byte == b'1').count();
    // Bytes, the lowest first.
    let mut bytes: Vec<u8> = Vec::with_capacity(text.len());
    for (index, byte) in text.bytes().enumerate().skip(ones) {
        let mut carry = position(BASE58, byte).ok_or_else(|| {
            WireError::new(
                "base58 text",
                index,
                Fault::Invalid("not a symbol of base58"),
            )
        })?;
        for byte in &mut bytes {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        while carry > 0 {
            bytes.push(carry as u8);
            carry >>= 8;
        }
    }
    bytes.extend(std::iter::repeat_n(0, ones));
    bytes.reverse();
    Ok(bytes)
}
