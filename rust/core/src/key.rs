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
    // Every such component begins with a dot or a slash, and nearly no other one does. Without a branch, so that the
    // compiler looks at many bytes at once.
    let after = bytes.get(1..).unwrap_or(&[]).iter();
    let doubtful = |first: u8, next: u8| (first == b'/') & ((next == b'/') | (next == b'.'));
    let any = bytes.iter().zip(after);
    let doubts = any.fold(false, |any, (&first, &next)| any | doubtful(first, next));
    let ends = matches!(bytes.first(), None | Some(b'.' | b'/')) || bytes.last() == Some(&b'/');
    if doubts || ends {
        return rest.split('/').all(|part| !matches!(part, "" | "." | ".."));
    }
    true
}

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
    let depth = key.bytes().filter(|&b| b == b'/').count() + 1;
    if depth > KEY_DEPTH_MAX {
        return Err(KeyError::TooDeep {
            depth,
            start: start(),
        });
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
