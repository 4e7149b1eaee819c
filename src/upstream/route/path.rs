//! The one spelling of a path that is understood here.

/// Longest path looked at, in bytes.
const PATH_MAX_BYTES: usize = 512;

/// The path as text when it is spelled plainly: from the root, letters, digits and `-._~:` in segments that are neither
/// empty nor begin with a dot. Whatever else a client or a server might read into a path (escapes, `;`, backslashes,
/// doubled or trailing slashes, a scheme and host) is not understood.
pub(super) fn clean(path: &[u8]) -> Option<&str> {
    let rest = path.strip_prefix(b"/").filter(|_| path.len() <= PATH_MAX_BYTES)?;
    if !rest.split(|b| *b == b'/').all(segment) {
        return None;
    }
    std::str::from_utf8(path).ok()
}

/// Whether this is a plain path segment: what a model's author or slug, or a job's id, may look like.
pub(super) fn segment(text: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b':');
    text.first().is_some_and(|first| *first != b'.') && text.iter().all(plain)
}
