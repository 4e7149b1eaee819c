//! Which models a public list tells of, and where in its bytes: some can be left out, and every byte of the others stays.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{ID_MAX_BYTES, MODELS_MAX, NoModels};

/// A list that was read: `{"data":[…]}`, with entries that name a model, or an endpoint of one.
#[derive(Debug, PartialEq, Eq)]
pub struct Listing {
    /// Where the array lies in the body, brackets and all.
    data: Range<usize>,
    /// The entries that name a model, and where they lie.
    named: Vec<(Box<str>, Range<usize>)>,
    /// How many entries there are.
    entries: usize,
    total: Option<Total>,
}

/// `total_count`: of what the list is the whole, or a page.
#[derive(Debug, PartialEq, Eq)]
struct Total {
    place: Range<usize>,
    count: Option<usize>,
}

impl Listing {
    /// Read a list.
    ///
    /// # Errors
    /// It is none, or has more entries than any has.
    pub fn read(body: &[u8]) -> Result<Self, NoModels> {
        let page: Page<'_> = serde_json::from_slice(body).map_err(|_| NoModels)?;
        let place = |value: &RawValue| {
            let start = (value.get().as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
            start..start + value.get().len()
        };
        let Entries(entries) = serde_json::from_str(page.data.get()).map_err(|_| NoModels)?;
        let named = entries.iter().filter_map(|entry| Some((model(entry)?, place(entry)))).collect();
        let total = |value: &RawValue| Total { place: place(value), count: value.get().parse().ok() };
        Ok(Self { data: place(page.data), named, entries: entries.len(), total: page.total_count.map(total) })
    }

    /// How many of its models are allowed.
    pub fn count(&self, allowed: impl Fn(&str) -> bool) -> usize {
        self.named.iter().filter(|(model, _)| allowed(model)).count()
    }

    /// The same list with the models that are allowed; `body` is what it was read from. What names no model is left out.
    /// `total_count` is the number of models left where it was that of the list, and `null` where this is one page of many:
    /// what is on the others is not known here.
    pub fn only(&self, body: &[u8], allowed: impl Fn(&str) -> bool) -> Vec<u8> {
        let kept: Vec<&Range<usize>> =
            self.named.iter().filter(|(model, _)| allowed(model)).map(|(_, place)| place).collect();
        let total = self.total.as_ref().map(|total| {
            let is_whole = total.count == Some(self.entries);
            (&total.place, if is_whole { kept.len().to_string() } else { "null".to_owned() })
        });
        let (before, behind): (Vec<_>, Vec<_>) = total.iter().partition(|(place, _)| place.end <= self.data.start);
        let mut out = Writer { body, at: 0, out: Vec::with_capacity(body.len()) };
        before.into_iter().for_each(|(place, text)| out.instead(place, text.as_bytes()));
        out.instead(&self.data, b"[");
        for (number, place) in kept.into_iter().enumerate() {
            out.put(if number == 0 { b"" } else { b"," });
            out.put(body.get(place.clone()).unwrap_or_default());
        }
        out.put(b"]");
        behind.into_iter().for_each(|(place, text)| out.instead(place, text.as_bytes()));
        out.put(body.get(out.at..).unwrap_or_default());
        out.out
    }
}

/// Writes a body with pieces of it replaced, in their order.
struct Writer<'a> {
    body: &'a [u8],
    /// What of the body is written or left out by now.
    at: usize,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn instead(&mut self, place: &Range<usize>, text: &[u8]) {
        self.put(self.body.get(self.at..place.start).unwrap_or_default());
        self.put(text);
        self.at = place.end;
    }
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow, default)]
    total_count: Option<&'a RawValue>,
}

/// The model that an entry is, or is an endpoint of.
fn model(entry: &RawValue) -> Option<Box<str>> {
    #[derive(Deserialize)]
    struct Entry {
        id: Option<Box<str>>,
        model_id: Option<Box<str>>,
    }
    let Entry { id, model_id } = serde_json::from_str(entry.get()).ok()?;
    model_id.or(id).filter(|id| (1..=ID_MAX_BYTES).contains(&id.len()))
}

/// The elements of an array, up to a bound.
struct Entries<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of models")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entries<'de>, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element()? {
            if entries.len() == MODELS_MAX {
                return Err(A::Error::custom("too many"));
            }
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn check(body: &str, expected: &str) {
        let listing = Listing::read(body.as_bytes()).expect("a list");
        let only = listing.only(body.as_bytes(), |model| model.starts_with("a/"));
        assert_eq!(std::str::from_utf8(&only), Ok(expected), "{body}");
    }

    #[test]
    fn what_is_kept_stays_as_it_was_to_the_byte() {
        check("{\"data\":[]}", "{\"data\":[]}");
        check(
            "{ \"data\" : [ {\"id\" : \"a/1\",\"price\":1.0e-7} , {\"id\":\"b/1\"},\n{\"x\":[{\"id\":\"b\"}],\"id\":\"a/2\"} ],\"z\" : 1.50}\n",
            "{ \"data\" : [{\"id\" : \"a/1\",\"price\":1.0e-7},{\"x\":[{\"id\":\"b\"}],\"id\":\"a/2\"}],\"z\" : 1.50}\n",
        );
        // Endpoints have names of their own.
        check(
            r#"{"data":[{"id":"b/x","model_id":"a/1"},{"name":"a/x","model_id":"b/1"}]}"#,
            r#"{"data":[{"id":"b/x","model_id":"a/1"}]}"#,
        );
        // What names nothing that can be read is not known to be allowed.
        check(
            r#"{"data":[7,null,"a/1",{},{"id":3},{"id":""},{"id":["a/1"]},{"id":"\u0061/1"}]}"#,
            r#"{"data":[{"id":"\u0061/1"}]}"#,
        );
    }

    #[test]
    fn the_total_is_of_what_is_left_where_that_is_known() {
        let two = r#"[{"id":"a/1"},{"id":"b/1"}]"#;
        let check = |before: &str, behind: &str, expected: (&str, &str)| {
            check(
                &format!("{{{before}\"data\":{two}{behind}}}"),
                &format!("{{{}\"data\":[{{\"id\":\"a/1\"}}]{}}}", expected.0, expected.1),
            );
        };
        check("", ",\"total_count\": 2,\"links\":{}", ("", ",\"total_count\": 1,\"links\":{}"));
        check("\"total_count\":2 ,", "", ("\"total_count\":1 ,", ""));
        check("", ",\"total_count\":20", ("", ",\"total_count\":null"));
        check("", ",\"total_count\":null", ("", ",\"total_count\":null"));
        check("", ",\"total_count\":{\"x\":2}", ("", ",\"total_count\":null"));
    }

    #[test]
    fn what_is_no_list_is_none() {
        let many = format!("{{\"data\":[{}0]}}", "0,".repeat(MODELS_MAX));
        let deep = format!("{{\"data\":[{}]}}", "[".repeat(100_000));
        for body in [
            "",
            "[]",
            "{}",
            "null",
            "{\"data\":{}}",
            "{\"data\":[1,]}",
            "{\"data\":[],\"data\":[]}",
            "{\"data\":[]} x",
            &many,
            &deep,
        ] {
            assert_eq!(Listing::read(body.as_bytes()), Err(NoModels), "{}", body.get(..40).unwrap_or(body));
        }
        assert_eq!(Listing::read(b"{\"data\":[{\"id\":\"a/\xff\"}]}"), Err(NoModels));
    }

    proptest! {
        #[test]
        fn any_list_keeps_what_is_allowed(names in prop::collection::vec("[ab]/[a-z\\\\\"é]{0,4}", 0..8), more in "\\PC{0,9}", total: bool) {
            let data: Vec<Value> = names.iter().map(|name| json!({"more": more, "id": name})).collect();
            let mut list = json!({"data": data});
            if total {
                list["total_count"] = names.len().into();
            }
            let body = serde_json::to_string_pretty(&list).expect("JSON");
            let listing = Listing::read(body.as_bytes()).expect("a list");
            let allowed = |name: &str| name.starts_with('a');
            let only: Value = serde_json::from_slice(&listing.only(body.as_bytes(), allowed)).expect("JSON");
            let kept: Vec<Value> = data.into_iter().filter(|model| model["id"].as_str().is_some_and(allowed)).collect();
            prop_assert_eq!(listing.count(allowed), kept.len());
            if total {
                prop_assert_eq!(&only["total_count"], &json!(kept.len()));
            }
            prop_assert_eq!(&only["data"], &Value::from(kept));
        }

        #[test]
        fn nothing_panics(body in "[\\[\\]{}\",:ad/0-9 \\\\]{0,60}") {
            if let Ok(listing) = Listing::read(body.as_bytes()) {
                listing.only(body.as_bytes(), |_| true);
            }
        }
    }
}
