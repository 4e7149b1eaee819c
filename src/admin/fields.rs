//! Bodies of writes: one JSON object, whose members are taken out by name and type. What is left over is refused.
//!
//! Not serde's derive: its messages repeat the offending value, which may be a key, and its numbers are floats.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::money::Usd;

use super::refused::Refused;
use super::text;

/// More members than this are never read: no call has that many.
const FIELDS_MAX: usize = 32;
/// The longest name of an unknown member that is repeated.
const SHOWN_NAME_MAX_BYTES: usize = 32;

/// The members of an object that have not been taken yet. No `Debug`: one of them may be a key.
///
/// A member of an object within the body is asked for by its whole name (`limits.caps.day`), which is what a refusal
/// tells.
pub(super) struct Fields {
    /// The name of the object, where it is not the body.
    within: Option<&'static str>,
    members: Vec<(String, Box<RawValue>)>,
}

/// What a body says about something that is set or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Said<T> {
    /// Nothing: it stays as it is.
    #[default]
    Nothing,
    /// `null`: it is no more.
    Lift,
    /// It is this from now on.
    Set(T),
}

impl<T> Said<T> {
    /// Do so.
    pub(super) fn apply(self, to: &mut Option<T>) {
        match self {
            Self::Nothing => {}
            Self::Lift => *to = None,
            Self::Set(value) => *to = Some(value),
        }
    }
}

impl Fields {
    /// Read a body.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refused> {
        let value: &RawValue = serde_json::from_slice(body)
            .map_err(|error| Refused::MalformedJson { line: error.line(), column: error.column() })?;
        if !value.get().starts_with('{') {
            return Err(Refused::NotAnObject);
        }
        Self::split(value, None)
    }

    /// Take a well-formed object apart.
    fn split(value: &RawValue, within: Option<&'static str>) -> Result<Self, Refused> {
        // The text is well-formed, so all that can go wrong is the number of members.
        let Members(members) =
            serde_json::from_str(value.get()).map_err(|_| Refused::Unknown { field: within.map(str::to_owned) })?;
        let fields = Self { within, members };
        for (at, (name, _)) in fields.members.iter().enumerate() {
            if fields.members.iter().take(at).any(|(earlier, _)| earlier == name) {
                return Err(match fields.told(name) {
                    Some(field) => Refused::Twice { field },
                    None => Refused::Unknown { field: None },
                });
            }
        }
        Ok(fields)
    }

    /// A member's whole name, where it may be repeated.
    fn told(&self, name: &str) -> Option<String> {
        let name = shown(name)?;
        Some(match self.within {
            Some(within) => format!("{within}.{name}"),
            None => name,
        })
    }

    /// A member's JSON text; `null` is as good as absent.
    fn take(&mut self, field: &'static str) -> Option<Box<RawValue>> {
        self.take_any(field).filter(|value| value.get() != "null")
    }

    fn take_any(&mut self, field: &'static str) -> Option<Box<RawValue>> {
        let own = field.rsplit('.').next().unwrap_or(field);
        let at = self.members.iter().position(|(name, _)| name == own)?;
        Some(self.members.swap_remove(at).1)
    }

    /// A member that is set, lifted by `null`, or left as it is.
    pub(super) fn said<T>(
        &mut self,
        field: &'static str,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Said<T>, Refused> {
        match self.take_any(field) {
            None => Ok(Said::Nothing),
            Some(value) if value.get() == "null" => Ok(Said::Lift),
            Some(value) => read(value.get()).map(Said::Set).ok_or(Refused::WrongValue { field, expected }),
        }
    }

    /// A member that is an object.
    pub(super) fn object(&mut self, field: &'static str) -> Result<Said<Self>, Refused> {
        match self.take_any(field) {
            None => Ok(Said::Nothing),
            Some(value) if value.get() == "null" => Ok(Said::Lift),
            Some(value) if value.get().starts_with('{') => Self::split(&value, Some(field)).map(Said::Set),
            Some(_) => Err(Refused::WrongValue { field, expected: "an object" }),
        }
    }

    /// Whether a member is there and is an object.
    pub(super) fn is_object(&self, field: &'static str) -> bool {
        self.members.iter().any(|(name, value)| name == field && value.get().starts_with('{'))
    }

    /// A member that is a string. Its copy is wiped when it is dropped: it may be a key.
    pub(super) fn string(&mut self, field: &'static str) -> Result<Option<Zeroizing<String>>, Refused> {
        let Some(value) = self.take(field) else { return Ok(None) };
        let text: String =
            serde_json::from_str(value.get()).map_err(|_| Refused::WrongValue { field, expected: "a string" })?;
        Ok(Some(Zeroizing::new(text)))
    }

    /// A member that is a name or a note.
    pub(super) fn text(&mut self, field: &'static str, max_chars: usize) -> Result<Option<String>, Refused> {
        let Some(text) = self.string(field)? else { return Ok(None) };
        text::check(&text, max_chars).map(Some).map_err(|fault| Refused::Text { field, fault })
    }

    /// A member that is an amount of dollars, not negative, read from its digits.
    pub(super) fn amount(&mut self, field: &'static str) -> Result<Option<Usd>, Refused> {
        let Some(value) = self.take(field) else { return Ok(None) };
        let amount = Usd::parse(value.get().as_bytes()).ok().filter(|amount| !amount.is_negative());
        amount.map(Some).ok_or(Refused::WrongValue { field, expected: "a number of dollars, zero or more" })
    }

    /// A member that is a whole number, zero or more.
    pub(super) fn whole(&mut self, field: &'static str) -> Result<Option<u64>, Refused> {
        let Some(value) = self.take(field) else { return Ok(None) };
        let number = value.get().parse();
        number.map(Some).map_err(|_| Refused::WrongValue { field, expected: "a whole number" })
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<(), Refused> {
        match self.members.first() {
            Some((name, _)) => Err(Refused::Unknown { field: self.told(name) }),
            None => Ok(()),
        }
    }
}

/// A member's name, where it is a name and not something that was put in the wrong place.
pub(super) fn shown(name: &str) -> Option<String> {
    let clean = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (clean && !name.is_empty() && name.len() <= SHOWN_NAME_MAX_BYTES).then(|| name.to_owned())
}

/// The members of an object, in their order.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;

        impl<'de> Visitor<'de> for Each {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with few members")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut fields = Vec::new();
                while let Some(member) = map.next_entry()? {
                    if fields.len() == FIELDS_MAX {
                        return Err(serde::de::Error::custom("too many members"));
                    }
                    fields.push(member);
                }
                Ok(Members(fields))
            }
        }

        deserializer.deserialize_map(Each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "sk-or-v1-00112233445566778899aabbccddeeff";

    type Members = (Option<String>, Option<String>, Option<Usd>);

    fn read(body: &str) -> Result<Members, Refused> {
        let mut fields = Fields::parse(body.as_bytes())?;
        let key = fields.string("key")?.map(|text| text.to_string());
        let label = fields.text("label", 10)?;
        let cost = fields.amount("cost")?;
        fields.finish()?;
        Ok((key, label, cost))
    }

    #[test]
    fn members_are_read_by_name_and_type() {
        let check = |body: &str, key: Option<&str>, label: Option<&str>, pico: Option<i64>| {
            let expected = (key.map(str::to_owned), label.map(str::to_owned), pico.map(Usd::from_pico));
            assert_eq!(read(body), Ok(expected), "{body}");
        };
        check("{}", None, None, None);
        check(r#" {"key":"k","label":" a b "} "#, Some("k"), Some("a b"), None);
        check(r#"{"key":null,"label":null,"cost":null}"#, None, None, None);
        check(r#"{"key":"\u0041"}"#, Some("A"), None, None);
        // Exactly, where a double would have made 0.30000000000000004 of a sum or lost the last digits.
        check(r#"{"cost":1234567.000000000001}"#, None, None, Some(1_234_567_000_000_000_001));
        check(r#"{"cost":7.669e-7}"#, None, None, Some(766_900));
    }

    #[test]
    fn everything_else_is_refused_by_name_without_repeating_values() {
        let check = |body: &str, refused: Refused| {
            assert_eq!(read(body), Err(refused.clone()), "{body}");
            assert!(!format!("{refused:?}").contains("0011"), "{refused:?}");
        };
        let wrong = |field, expected| Refused::WrongValue { field, expected };
        check("", Refused::MalformedJson { line: 1, column: 0 });
        check("{\n\"key\":", Refused::MalformedJson { line: 2, column: 6 });
        check(r#"{"key":"a"} {}"#, Refused::MalformedJson { line: 1, column: 13 });
        check(r#"{"key":"a",}"#, Refused::MalformedJson { line: 1, column: 12 });
        check("[]", Refused::NotAnObject);
        check("null", Refused::NotAnObject);
        check(&format!("\"{SECRET}\""), Refused::NotAnObject);
        check(r#"{"key":7}"#, wrong("key", "a string"));
        check(&format!(r#"{{"key":["{SECRET}"]}}"#), wrong("key", "a string"));
        check(r#"{"key":"\ud800"}"#, wrong("key", "a string"));
        check(r#"{"cost":"1"}"#, wrong("cost", "a number of dollars, zero or more"));
        check(r#"{"cost":-0.1}"#, wrong("cost", "a number of dollars, zero or more"));
        check(r#"{"cost":1e99}"#, wrong("cost", "a number of dollars, zero or more"));
        check(r#"{"key":"a","key":"b"}"#, Refused::Twice { field: "key".to_owned() });
        check(r#"{"Key":"a"}"#, Refused::Unknown { field: Some("Key".to_owned()) });
        check(&format!(r#"{{"{SECRET}":1}}"#), Refused::Unknown { field: None });
        check(&format!(r#"{{"{SECRET}":1,"{SECRET}":1}}"#), Refused::Unknown { field: None });
        check(r#"{"label":"a\nb"}"#, Refused::Text { field: "label", fault: text::TextFault::Unprintable });
        check(r#"{"label":"01234567890"}"#, Refused::Text { field: "label", fault: text::TextFault::Long(10) });
        check(&format!("{{{}}}", "\"a\":1,".repeat(40) + "\"b\":1"), Refused::Unknown { field: None });
        let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
        assert!(read(&deep).is_err());
        assert!(Fields::parse(b"{\"key\":\"\xff\"}").is_err());
    }
}
