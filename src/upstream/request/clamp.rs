//! Writing a smaller limit on output tokens into a body that is otherwise left alone, byte for byte.

use crate::upstream::Endpoint;

use super::body::{Body, Members, opening};

/// The body with its one limit on output tokens set to `tokens`, or given one.
///
/// `None` when that cannot be done: the endpoint writes no text, the body is no JSON object, or it has several limits.
pub fn clamp_max_tokens(endpoint: Endpoint, body: &[u8], tokens: u64) -> Option<Vec<u8>> {
    let fields = Body::read(body).ok()?;
    let names = names(endpoint, &fields)?;
    // Taken apart once more, because `null` counts as no limit, yet stands where the limit must be written.
    let Members(members) = serde_json::from_slice(body).ok()?;
    let limits = || members.iter().filter(|(key, _)| names.contains(&&**key)).map(|(_, value)| *value);
    let mut set = limits().filter(|value| value.get() != "null");
    let limit = match (set.next(), set.next()) {
        (Some(_), Some(_)) => return None,
        (one, _) => one.or_else(|| limits().next()),
    };
    match limit {
        Some(limit) => {
            // Where the value stands: it was borrowed from the body.
            let start = (limit.get().as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
            let (before, after) = (body.get(..start)?, body.get(start + limit.get().len()..)?);
            Some([before, tokens.to_string().as_bytes(), after].concat())
        }
        None => {
            let start = memchr::memchr(b'{', body)? + 1;
            let (before, after) = body.split_at_checked(start)?;
            let comma = if opening(after) == Some(b'}') { "" } else { "," };
            Some([before, format!("\"{}\":{tokens}{comma}", names.first()?).as_bytes(), after].concat())
        }
    }
}

/// What a limit is called at this endpoint; the first name is the one to give it when there is none.
fn names(endpoint: Endpoint, body: &Body<'_>) -> Option<&'static [&'static str]> {
    match endpoint {
        Endpoint::ChatCompletions => Some(&["max_tokens", "max_completion_tokens"]),
        Endpoint::CursorChat if body.messages.is_some() => Some(&["max_tokens", "max_completion_tokens"]),
        Endpoint::Completions | Endpoint::Messages => Some(&["max_tokens"]),
        Endpoint::Responses | Endpoint::CursorChat => Some(&["max_output_tokens"]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use Endpoint::{ChatCompletions, Completions, CursorChat, Embeddings, Messages, Responses};

    #[test]
    fn the_one_limit_is_written_and_nothing_else() {
        let check = |endpoint, body: &str, expected: Option<&str>| {
            let clamped = clamp_max_tokens(endpoint, body.as_bytes(), 7);
            assert_eq!(clamped.as_deref(), expected.map(str::as_bytes), "{body}");
        };
        check(ChatCompletions, r#"{ "max_tokens" : 900, "x":1}"#, Some(r#"{ "max_tokens" : 7, "x":1}"#));
        check(ChatCompletions, r#"{"max_completion_tokens":900}"#, Some(r#"{"max_completion_tokens":7}"#));
        check(ChatCompletions, r#"{"max\u005ftokens":9e2}"#, Some(r#"{"max\u005ftokens":7}"#));
        check(ChatCompletions, r#"{"x":{"max_tokens":5}}"#, Some(r#"{"max_tokens":7,"x":{"max_tokens":5}}"#));
        check(ChatCompletions, " {\n} ", Some(" {\"max_tokens\":7\n} "));
        check(ChatCompletions, r#"{"max_tokens":null,"x":1}"#, Some(r#"{"max_tokens":7,"x":1}"#));
        check(
            ChatCompletions,
            r#"{"max_tokens":null,"max_completion_tokens":9}"#,
            Some(r#"{"max_tokens":null,"max_completion_tokens":7}"#),
        );
        check(ChatCompletions, r#"{"max_tokens":9,"max_completion_tokens":9}"#, None);
        check(ChatCompletions, r#"{"max_tokens":9,"max_tokens":9}"#, None);
        check(ChatCompletions, r#"{"max_output_tokens":9}"#, Some(r#"{"max_tokens":7,"max_output_tokens":9}"#));
        check(Completions, r#"{"max_tokens":9}"#, Some(r#"{"max_tokens":7}"#));
        check(Messages, r#"{"max_tokens":9}"#, Some(r#"{"max_tokens":7}"#));
        check(Responses, r#"{"input":"x"}"#, Some(r#"{"max_output_tokens":7,"input":"x"}"#));
        check(CursorChat, r#"{"messages":[]}"#, Some(r#"{"max_tokens":7,"messages":[]}"#));
        check(CursorChat, r#"{"input":[],"max_output_tokens":9}"#, Some(r#"{"input":[],"max_output_tokens":7}"#));
        check(Embeddings, r#"{"input":"x"}"#, None);
        for body in ["", "[]", "null", "{\"max_tokens\":9", "\u{1f}\u{8b}", "--b\r\n{}"] {
            check(ChatCompletions, body, None);
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), "\\PC{0,20}".prop_map(Value::from)];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-z_]{1,12}", inner), 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn everything_but_the_limit_stays(
            members in prop::collection::vec(("[a-z_]{1,12}", value()), 0..6),
            limit in prop::option::of((prop::sample::select(&["max_tokens", "max_completion_tokens"][..]), any::<u64>())),
            at in 0usize..7,
            tokens: u64,
            pretty: bool,
        ) {
            let mut members = members;
            if let Some((name, limit)) = limit {
                members.insert(at.min(members.len()), (name.to_owned(), json!(limit)));
            }
            let whole = Value::Object(members.into_iter().collect());
            let body = if pretty { serde_json::to_string_pretty(&whole) } else { serde_json::to_string(&whole) };
            let body = body.expect("prints");
            let clamped = clamp_max_tokens(ChatCompletions, body.as_bytes(), tokens).expect("one limit at most");
            // The bytes: a common beginning and a common end, and between them only the number or the new member.
            let same = body.bytes().zip(clamped.iter().copied()).take_while(|(a, b)| a == b).count();
            let end = body.len().min(clamped.len()) - same;
            let alike = body.bytes().rev().zip(clamped.iter().rev().copied()).take(end).take_while(|(a, b)| a == b).count();
            let changed = String::from_utf8_lossy(&clamped[same..clamped.len() - alike]).into_owned();
            let added = format!("\"max_tokens\":{tokens},");
            prop_assert!(changed.len() <= added.len(), "{} became {:?}", body, changed);
            // The meaning: equal but for the limit.
            let mut read: Value = serde_json::from_slice(&clamped).expect("JSON");
            let name = limit.map_or("max_tokens", |(name, _)| name);
            prop_assert_eq!(&read[name], &json!(tokens));
            let mut before = whole;
            for value in [&mut read, &mut before] {
                value.as_object_mut().expect("an object").shift_remove(name);
            }
            prop_assert_eq!(read, before);
        }

        #[test]
        fn no_bytes_are_a_panic(body in prop::collection::vec(prop::sample::select(&b"{}[]\":,\\max_tokens019 null\xC3"[..]), 0..200)) {
            for endpoint in Endpoint::ALL {
                if let Some(clamped) = clamp_max_tokens(endpoint, &body, 5) {
                    prop_assert!(serde_json::from_slice::<Value>(&clamped).is_ok() || serde_json::from_slice::<Value>(&body).is_err());
                }
            }
        }
    }
}
