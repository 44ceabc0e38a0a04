//! Data keys: `/`-separated text, cleaned as go-datastore cleans.

use std::borrow::Cow;

use thiserror::Error;

use crate::limits::{KEY_BYTES_MAX, KEY_DEPTH_MAX};

/// Why a data key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    #[error("the empty key (the root) can be read, never written")]
    Root,
    #[error("the key has {bytes} bytes, the limit is {KEY_BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("the key has {depth} components, the limit is {KEY_DEPTH_MAX}")]
    TooDeep { depth: usize },
}

/// The clean form: a leading `/`, no empty, `.` or `..` component, no `/` at the end. The root is `/`.
/// Costs no allocation where `text` is clean.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    match text.strip_prefix('/') {
        Some("") => Cow::Borrowed(text),
        Some(rest) if is_clean_path(rest) => Cow::Borrowed(text),
        _ => Cow::Owned(format!("/{}", join(text))),
    }
}

/// Whether `text` is its own clean form.
#[must_use]
pub fn is_clean(text: &str) -> bool {
    matches!(text.strip_prefix('/'), Some(rest) if rest.is_empty() || is_clean_path(rest))
}

/// The clean form without its leading `/`, within the limits of a key that is written. The root is refused.
pub fn data_key(text: &str) -> Result<Cow<'_, str>, KeyError> {
    let key = prefix(text)?;
    if key.is_empty() {
        Err(KeyError::Root)
    } else {
        Ok(key)
    }
}

/// As `data_key`, but the root is allowed: `""`.
pub fn prefix(text: &str) -> Result<Cow<'_, str>, KeyError> {
    let bare = text.strip_prefix('/').unwrap_or(text);
    let key = if bare.is_empty() || is_clean_path(bare) {
        Cow::Borrowed(bare)
    } else {
        Cow::Owned(join(text))
    };
    if key.len() > KEY_BYTES_MAX {
        return Err(KeyError::TooLong { bytes: key.len() });
    }
    // Too few bytes for too many components is the common case: nothing to count.
    if key.len() >= 2 * KEY_DEPTH_MAX {
        let depth = key.bytes().filter(|&byte| byte == b'/').count() + 1;
        if depth > KEY_DEPTH_MAX {
            return Err(KeyError::TooDeep { depth });
        }
    }
    Ok(key)
}

/// One component that stands for `part`, whatever its bytes; different parts give different components.
/// A part that is a component as it is stays so. Otherwise `/`, `%` and bytes that are not UTF-8 become `%XX`,
/// and so do the dots of `.` and `..`; the empty part becomes `%00` (a real NUL is never encoded).
#[must_use]
pub fn component(part: &[u8]) -> String {
    if part.is_empty() {
        return "%00".to_owned();
    }
    let dots = part == b"." || part == b"..";
    let text = std::str::from_utf8(part);
    if let Ok(text) = text
        && !dots
        && !part.contains(&b'/')
        && !holds_escape(part)
    {
        return text.to_owned();
    }
    let mut out = String::with_capacity(part.len() + 16);
    for chunk in part.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '/' => out.push_str("%2F"),
                '%' => out.push_str("%25"),
                '.' if dots => out.push_str("%2E"),
                other => out.push(other),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Whether some `%XX` is in there: such a part is encoded too, else it would stand for two parts.
fn holds_escape(part: &[u8]) -> bool {
    part.windows(3)
        .any(|window| matches!(window, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()))
}

/// Whether a path without leading `/` is clean: no component is empty, `.` or `..`.
fn is_clean_path(path: &str) -> bool {
    let mut length = 0_usize;
    let mut dots_only = true;
    for byte in path.bytes() {
        if byte == b'/' {
            if length == 0 || dots_only && length <= 2 {
                return false;
            }
            length = 0;
            dots_only = true;
        } else {
            length += 1;
            dots_only &= byte == b'.';
        }
    }
    length > 0 && !(dots_only && length <= 2)
}

fn join(text: &str) -> String {
    let mut components: Vec<&str> = Vec::new();
    for component in text.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop();
            }
            other => components.push(other),
        }
    }
    components.join("/")
}
