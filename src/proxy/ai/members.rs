//! The members of a JSON document as its bytes pass by: where its object ends, and a few short values. Pure, constant memory.

/// Longest name that is told apart, in bytes.
const NAME_MAX_BYTES: usize = 32;
/// Longest value that is kept, in bytes.
const VALUE_MAX_BYTES: usize = 256;

/// Short values that stood in the outermost object, as they were written: texts without their quotes, escapes and all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) id: Option<Box<str>>,
    pub(super) model: Option<Box<str>>,
    pub(super) provider: Option<Box<str>>,
    pub(super) created: Option<Box<str>>,
    /// There was an `error` that is none of `null` and `false`.
    pub(super) error: bool,
}

/// Walks one document after the other.
#[derive(Debug, Default)]
pub(super) struct Walk {
    place: Place,
    depth: u64,
    in_text: bool,
    escaped: bool,
    /// What comes next in the outermost object is a name.
    name_due: bool,
    name: Short<NAME_MAX_BYTES>,
    value: Short<VALUE_MAX_BYTES>,
    is_text: bool,
    any: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Before,
    Inside,
    /// The object is over, or this is none.
    Over,
}

/// A short text; what is longer is none.
#[derive(Debug, Default)]
struct Short<const MAX: usize> {
    bytes: Vec<u8>,
    too_long: bool,
}

impl<const MAX: usize> Short<MAX> {
    fn push(&mut self, bytes: &[u8]) {
        self.too_long |= self.bytes.len() + bytes.len() > MAX;
        if !self.too_long {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.too_long = false;
    }

    fn get(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok().filter(|_| !self.too_long)
    }
}

impl Walk {
    /// Whether the outermost object has any members yet.
    pub(super) fn has_members(&self) -> bool {
        self.any
    }

    /// Begin with a new document.
    pub(super) fn restart(&mut self) {
        *self =
            Self { name: std::mem::take(&mut self.name), value: std::mem::take(&mut self.value), ..Self::default() };
        self.name.clear();
        self.value.clear();
    }

    /// Walk over `bytes`; where in them the brace is that closes the outermost object.
    pub(super) fn push(&mut self, bytes: &[u8], said: &mut Said) -> Option<usize> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty() && self.place != Place::Over) {
            if self.in_text {
                at += self.text(rest, said);
                continue;
            }
            if self.structure(*rest.first()?, said) {
                return Some(at);
            }
            at += 1;
        }
        None
    }

    /// A stretch of a string, or its end: how many bytes.
    fn text(&mut self, rest: &[u8], said: &mut Said) -> usize {
        if self.escaped {
            self.escaped = false;
            self.keep(rest.get(..1).unwrap_or_default());
            return 1;
        }
        let end = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
        self.keep(rest.get(..end).unwrap_or_default());
        match rest.get(end) {
            None => end,
            Some(b'\\') => {
                self.keep(b"\\");
                self.escaped = true;
                end + 1
            }
            Some(_) => {
                self.in_text = false;
                if self.depth == 1 && self.name_due {
                    self.name_due = false;
                    self.any = true;
                } else if self.depth == 1 {
                    self.member_over(said);
                }
                end + 1
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        match (self.depth, self.name_due) {
            (1, true) => self.name.push(bytes),
            (1, false) => self.value.push(bytes),
            _ => {}
        }
    }

    /// A byte outside of strings. Whether it closes the outermost object.
    fn structure(&mut self, byte: u8, said: &mut Said) -> bool {
        match (self.place, byte) {
            (_, b' ' | b'\t' | b'\r' | b'\n') => {}
            (Place::Before, b'{') => {
                self.place = Place::Inside;
                (self.depth, self.name_due) = (1, true);
            }
            (Place::Before | Place::Over, _) => self.place = Place::Over,
            (Place::Inside, b'"') => {
                self.in_text = true;
                self.is_text = self.depth == 1 && !self.name_due;
            }
            (Place::Inside, b'{' | b'[') => {
                self.keep(&[byte]);
                self.depth += 1;
            }
            (Place::Inside, b'}' | b']') => {
                if self.depth == 1 {
                    self.member_over(said);
                    self.place = Place::Over;
                    return byte == b'}';
                }
                self.depth -= 1;
            }
            (Place::Inside, b',') if self.depth == 1 => {
                self.member_over(said);
                self.name.clear();
                self.name_due = true;
            }
            (Place::Inside, b':') => {}
            (Place::Inside, _) => self.keep(&[byte]),
        }
        false
    }

    /// The value of a member has ended. Called again behind it, which finds nothing.
    fn member_over(&mut self, said: &mut Said) {
        let value = self.value.get().filter(|value| !value.is_empty());
        match (self.name.get(), value) {
            (Some("error"), value) => {
                let is_none = !self.is_text && matches!(value, Some("null" | "false"));
                said.error |= self.value.too_long || (value.is_some() && !is_none);
            }
            (Some("id"), Some(value)) if self.is_text => said.id = Some(value.into()),
            (Some("model"), Some(value)) if self.is_text => said.model = Some(value.into()),
            (Some("provider"), Some(value)) if self.is_text => said.provider = Some(value.into()),
            (Some("created"), Some(value)) if !self.is_text && value.bytes().all(|b| b.is_ascii_digit()) => {
                said.created = Some(value.into());
            }
            _ => {}
        }
        self.value.clear();
        self.is_text = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(document: &str, size: usize) -> (Said, Option<usize>, bool) {
        let (mut walk, mut said, mut end, mut at) = (Walk::default(), Said::default(), None, 0);
        for chunk in document.as_bytes().chunks(size) {
            end = end.or(walk.push(chunk, &mut said).map(|place| at + place));
            at += chunk.len();
        }
        (said, end, walk.has_members())
    }

    #[test]
    fn members_and_the_end_are_found_whatever_the_chunks() {
        let text = |text: &str| Some(text.into());
        let check = |document: &str, expected: Said, end: Option<usize>| {
            for size in 1..=document.len() {
                let (said, place, _) = walk(document, size);
                assert_eq!((said, place), (expected.clone(), end), "{document} in chunks of {size}");
            }
        };
        let none = Said::default;
        check("{}", none(), Some(1));
        check(" \n{ } \n", none(), Some(4));
        check("[{}]", none(), None);
        check("{\"a\":{\"provider\":\"no\"}}", none(), Some(22));
        check(r#"{"provider":"a\"}b","x":[1,{"id":"n"}]}"#, Said { provider: text(r#"a\"}b"#), ..none() }, Some(38));
        check(
            r#"{"id":"g","created":17 ,"model":"m"}"#,
            Said { id: text("g"), created: text("17"), model: text("m"), ..none() },
            Some(35),
        );
        check(r#"{"created":"17","provider":null,"id":3}"#, none(), Some(38));
        check(r#"{"error":null}"#, none(), Some(13));
        check(r#"{"error":{"code":5},"id":"g"}"#, Said { error: true, id: text("g"), ..none() }, Some(28));
        check(r#"{"error":"null"}"#, Said { error: true, ..none() }, Some(15));
        check(r#"{"provider":"cut"#, none(), None);
    }
}
