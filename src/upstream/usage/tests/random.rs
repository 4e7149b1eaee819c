//! Random answers against a naive reader: `serde_json` over the whole text, looking only where usage is documented.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::read;
use crate::money::{Cost, Usd};
use crate::upstream::{BodyShape, Endpoint};

/// What a model or a client may write to be taken for usage.
const PLANTS: [&str; 8] = [
    "\"usage\":{\"cost\":99}",
    "\",\"usage\":{\"cost\":99},\"x\":\"",
    "}],\"usage\":{\"cost\":99}}",
    "data: {\"usage\":{\"cost\":99}}\n\n",
    "\n\ndata: [DONE]\n\n",
    "\\\"}}}]}",
    "{\"cost\":99}",
    "usage",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![prop::sample::select(&PLANTS[..]).prop_map(str::to_owned), ".{0,40}", "[\\\\\"{}\\[\\],: \n]{0,20}"]
}

/// Any JSON value, with keys of ours in all the wrong places.
fn junk() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let key = prop_oneof![Just("usage".to_owned()), Just("cost".to_owned()), Just("message".to_owned()), text()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// `usage.cost` as JavaScript prints it, or what else stands there.
fn cost() -> impl Strategy<Value = (String, Cost)> {
    let known = |text: String| {
        let cost = Cost::Known(text.parse::<Usd>().expect("an amount"));
        (text, cost)
    };
    prop_oneof![
        (0u64..10_000_000_000).prop_map(move |pico| known(Usd::from_pico(pico as i64).to_decimal())),
        (1u32..9999, 5u32..12).prop_map(move |(digits, down)| known(format!("{digits}e-{down}"))),
        prop::sample::select(&["null", "\"0.5\"", "-1", "true", "{\"cost\":1}", "[2]"][..])
            .prop_map(|text| (text.to_owned(), Cost::Unknown)),
    ]
}

/// A chat document with junk around its usage. The cost's text is put in afterwards, so that its spelling survives.
fn document() -> impl Strategy<Value = (String, Cost)> {
    let members =
        || prop::collection::vec((prop::sample::select(&["choices", "x"][..]).prop_map(str::to_owned), junk()), 0..4);
    (members(), members(), text(), cost()).prop_map(|(before, after, said, (printed, cost))| {
        let mut root: Map<String, Value> = before.into_iter().collect();
        root.insert("said".into(), json!([{"delta": {"content": said}}]));
        root.insert("usage".into(), json!({"prompt_tokens": 7, "cost": "HERE"}));
        root.extend(after.into_iter().filter(|(key, _)| key != "choices"));
        let text = Value::Object(root).to_string().replacen("\"cost\":\"HERE\"", &format!("\"cost\":{printed}"), 1);
        (text, cost)
    })
}

fn cuts<'a>(body: &'a [u8], at: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = at.iter().map(|index| index.index(body.len() + 1)).collect();
    at.sort_unstable();
    let ends = at.iter().copied().chain([body.len()]);
    let mut from = 0;
    ends.map(|end| body.get(std::mem::replace(&mut from, end)..end).expect("in order")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn only_the_documented_place_counts(
        (text, cost) in document(),
        padding in "[ \n]{0,30}",
        at in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let body = format!("{padding}{text}").into_bytes();
        let reading = read(Endpoint::ChatCompletions, BodyShape::Json, cuts(&body, &at));
        prop_assert_eq!(reading.cost, cost, "{}", text);
        prop_assert_eq!(reading.tokens.prompt, Some(7));
        prop_assert!(reading.complete);
    }

    #[test]
    fn the_last_event_with_a_cost_counts(
        documents in prop::collection::vec(document(), 1..4),
        comments in any::<bool>(),
        ended in any::<bool>(),
        at in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut body = String::new();
        for (text, _) in &documents {
            if comments {
                body.push_str(": OPENROUTER PROCESSING\n\n");
            }
            body.push_str(&format!("data: {text}\n\n"));
        }
        if ended {
            body.push_str("data: [DONE]\n\n");
        }
        let reading = read(Endpoint::ChatCompletions, BodyShape::EventStream, cuts(body.as_bytes(), &at));
        prop_assert_eq!(reading.complete, ended, "{}", body);
        let last = documents.last().expect("one at least").1;
        if let Cost::Known(_) = last {
            prop_assert_eq!(reading.cost, last, "{}", body);
        }
    }

    #[test]
    fn no_bytes_are_a_panic(
        body in prop::collection::vec(any::<u8>(), 0..400),
        endpoint in prop::sample::select(&Endpoint::ALL[..]),
        shape in prop::sample::select(&[BodyShape::Json, BodyShape::EventStream, BodyShape::Opaque][..]),
        at in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let whole = read(endpoint, shape, [&*body]);
        prop_assert_eq!(read(endpoint, shape, cuts(&body, &at)), whole);
    }
}
