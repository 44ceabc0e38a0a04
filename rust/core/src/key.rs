//! Keys as text: cleaned as go-datastore cleans them, limited as named in `limits`.

use crate::limits::{KEY_BYTES_MAX, KEY_DEPTH_MAX};
use std::borrow::Cow;

/// A key that cannot be used.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum KeyError {
    #[error("the empty key (the root) can be read, but not counted on")]
    Root,
    #[error("the key has {len} bytes, at most {max} are taken: {start}…", max = KEY_BYTES_MAX)]
    TooLong { len: usize, start: String },
    #[error("the key has {depth} components, at most {max} are taken: {start}…", max = KEY_DEPTH_MAX)]
    TooDeep { depth: usize, start: String },
}

/// The clean form with a leading `/`: no empty, `.` or `..` component, no trailing `/`. What is clean is not copied.
#[must_use]
pub fn clean(key: &str) -> Cow<'_, str> {
    match key.strip_prefix('/') {
        Some(rest) if !rest.is_empty() && is_clean(rest) => Cow::Borrowed(key),
        _ => Cow::Owned(format!("/{}", without_slash(key))),
    }
}

/// The clean form without leading `/`, of any length; `""` is the root.
fn without_slash(key: &str) -> Cow<'_, str> {
    let rest = key.strip_prefix('/').unwrap_or(key);
    if rest.is_empty() || is_clean(rest) {
        return Cow::Borrowed(rest);
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in key.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Cow::Owned(parts.join("/"))
}

/// Whether a text without leading `/` is clean: not empty, and no component of it is empty, `.` or `..`.
#[must_use]
pub fn is_clean(rest: &str) -> bool {
    let bytes = rest.as_bytes();
    // Every such component begins with a dot or a slash, and nearly no other one does.
    let ends = matches!(bytes.first(), None | Some(b'.' | b'/')) || bytes.last() == Some(&b'/');
    if ends || has_doubtful_pair(bytes) {
        return rest.split('/').all(|part| !matches!(part, "" | "." | ".."));
    }
    true
}

/// Whether two dots or slashes stand side by side.
#[inline]
fn has_doubtful_pair(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk() else {
        let mut pairs = bytes.iter().zip(bytes.get(1..).unwrap_or(&[]));
        return pairs.any(|(first, next)| first | 1 == b'/' && next | 1 == b'/');
    };
    // Eight bytes at once; the last eight, which overlap others, by themselves.
    let (words, _) = bytes.as_chunks();
    let (mut pairs, mut before) = (0, 0);
    for word in words {
        let marks = dots_and_slashes(*word);
        pairs |= marks & (marks << 8 | before);
        before = marks >> (u64::BITS - 8);
    }
    let marks = dots_and_slashes(*last);
    pairs | marks & (marks << 8) != 0
}

/// The highest bit of each byte that is a dot or a slash; the first byte is the lowest one.
#[inline]
fn dots_and_slashes(bytes: [u8; 8]) -> u64 {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    // A dot, 0x2e, is a slash but for the lowest bit. Of bytes with that bit alike none is 1, which would borrow.
    let zeros = (u64::from_le_bytes(bytes) | EACH) ^ (EACH * b'/' as u64);
    zeros.wrapping_sub(EACH) & !zeros & (EACH << 7)
}

/// Whether a key is as [`data_key`] would give it: for short ones, quickly. False says nothing.
#[inline]
#[must_use]
pub fn is_plain(key: &str) -> bool {
    key.len() < COUNTED_BYTES_MIN && is_clean(key)
}

/// So many components have as many slashes between them, less one, and a byte each at least: shorter keys have too few.
const COUNTED_BYTES_MIN: usize = 2 * KEY_DEPTH_MAX;
const _: () = assert!(COUNTED_BYTES_MIN < KEY_BYTES_MAX);

/// A key that can be counted on: clean, without leading `/`.
///
/// # Errors
/// The root, or a key beyond a limit.
pub fn data_key(key: &str) -> Result<Cow<'_, str>, KeyError> {
    let key = prefix(key)?;
    if key.is_empty() {
        Err(KeyError::Root)
    } else {
        Ok(key)
    }
}

/// A key or prefix that can be read: clean, without leading `/`; `""` is the root.
///
/// # Errors
/// It is beyond a limit.
pub fn prefix(key: &str) -> Result<Cow<'_, str>, KeyError> {
    let key = without_slash(key);
    let start = || key.chars().take(40).collect::<String>();
    if key.len() > KEY_BYTES_MAX {
        return Err(KeyError::TooLong {
            len: key.len(),
            start: start(),
        });
    }
    if key.len() >= COUNTED_BYTES_MIN {
        let depth = key.bytes().filter(|&b| b == b'/').count() + 1;
        if depth > KEY_DEPTH_MAX {
            return Err(KeyError::TooDeep {
                depth,
                start: start(),
            });
        }
    }
    Ok(key)
}

/// One component from any name: percent-encoded where it holds `/`, is empty, `.` or `..`, or is not UTF-8.
///
/// `%` itself is encoded too, whenever anything is, or where it could be read as an encoding: two names never meet.
#[must_use]
pub fn component(name: &[u8]) -> String {
    use std::fmt::Write as _;
    let text = std::str::from_utf8(name).ok();
    if let Some(text) = text.filter(|t| !matches!(*t, "" | "." | "..") && !t.contains(['/', '%'])) {
        return text.to_owned();
    }
    let mut out = String::new();
    if name.is_empty() {
        out.push('%');
    }
    for chunk in name.utf8_chunks() {
        let dots = matches!(name, b"." | b"..");
        for c in chunk.valid().chars() {
            match c {
                '/' => out.push_str("%2F"),
                '%' => out.push_str("%25"),
                '.' if dots => out.push_str("%2E"),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_checked_on_the_clean_form() {
        assert_eq!(data_key("//a/./b/../c//").unwrap(), "a/c");
        assert_eq!(data_key("/.."), Err(KeyError::Root));
        assert_eq!(prefix("").unwrap(), "");
        assert!(data_key(&"k".repeat(KEY_BYTES_MAX)).is_ok());
        assert!(matches!(
            data_key(&"k".repeat(KEY_BYTES_MAX + 1)),
            Err(KeyError::TooLong { .. })
        ));
        assert!(data_key(&vec!["k"; KEY_DEPTH_MAX].join("/")).is_ok());
        assert!(matches!(
            data_key(&vec!["k"; KEY_DEPTH_MAX + 1].join("/")),
            Err(KeyError::TooDeep { .. })
        ));
    }

    #[test]
    fn what_looks_clean_is_clean() {
        let parts = [
            "",
            ".",
            "..",
            "a",
            ".b",
            "b.",
            "/",
            "long-enough",
            "é",
            "0",
            ".",
        ];
        let mut state = 1u32;
        for _ in 0..100_000 {
            let mut key = String::new();
            for _ in 0..state % 9 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                key.push_str(parts[state as usize / 7 % parts.len()]);
                if state & 1 << 30 != 0 {
                    key.push('/');
                }
            }
            state = state.wrapping_add(1);
            let parts_are_clean = key.split('/').all(|part| !matches!(part, "" | "." | ".."));
            assert_eq!(is_clean(&key), parts_are_clean, "{key:?}");
            let is_plain = data_key(&key).is_ok_and(|clean| clean == key);
            assert_eq!(is_plain, super::is_plain(&key), "{key:?}");
        }
    }

    #[test]
    fn components_of_different_names_differ() {
        let names: [&[u8]; 12] = [
            b"",
            b".",
            b"..",
            b"...",
            b"a/b",
            b"a%2Fb",
            b"%",
            b"%25",
            b"\xff",
            b"%FF",
            b"a.b",
            "é".as_bytes(),
        ];
        let mut seen: Vec<_> = names.iter().map(|n| component(n)).collect();
        for key in &seen {
            assert_eq!(data_key(key).unwrap(), key.as_str());
            assert!(!key.contains('/'));
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), names.len());
        assert_eq!(component(b"plain name"), "plain name");
    }
}
