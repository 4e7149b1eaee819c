//! The router against prompts that people labelled (`tests/fixtures/routing`), and the rules for its models.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::clock::Timestamp;
use crate::money::{Model, Price, PriceList, Rates, Usd};

/// Signals were chosen with these at hand.
const TUNED: &str = include_str!("../../../tests/fixtures/routing/tuned.jsonl");
/// Signals were never changed for these.
const HELD_OUT: &str = include_str!("../../../tests/fixtures/routing/held_out.jsonl");
/// Nor for these, which are meant to mislead.
const HARD: &str = include_str!("../../../tests/fixtures/routing/hard.jsonl");
const LONG: u64 = 60_000;

fn router() -> Router {
    Router::new(built_in(), LONG)
}

/// Expected category and features of each line.
fn prompts(file: &str) -> Vec<(String, Features)> {
    file.lines()
        .map(|line| {
            let row: Vec<Value> = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            let text = row[1].as_str().expect("a prompt");
            let more = row.get(2).cloned().unwrap_or_default();
            let fill = more["fill"].as_u64().unwrap_or(0);
            let filler = "It was a bright cold day in April, and the clocks were striking thirteen. ";
            let filled = text.to_owned() + &filler.repeat(usize::try_from(fill).expect("fits") / filler.len());
            let mut features = Features::of_text(&filled);
            features.images = u32::try_from(more["images"].as_u64().unwrap_or(0)).expect("fits");
            features.structured = more["json"] == true;
            features.forced_tool = more["forced"] == true;
            let tools = more["tools"].as_array().cloned().unwrap_or_default();
            features.tools = tools.iter().filter_map(|tool| tool.as_str().map(str::to_owned)).collect();
            (row[0].as_str().expect("a category").to_owned(), features)
        })
        .collect()
}

/// The confusion table in Markdown, the misses, and how many of how many are right.
fn measure(file: &str) -> (String, String, usize, usize) {
    let (router, prompts) = (router(), prompts(file));
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut misses = String::new();
    for (expected, features) in &prompts {
        let (got, reason, _) = router.classify(features);
        if got != expected {
            let text: String = features.text.chars().take(70).collect();
            writeln!(misses, "{expected} -> {got} ({reason}): {text:?}").expect("a String");
        }
        *counts.entry((expected.clone(), got.to_owned())).or_default() += 1;
    }
    let names: Vec<String> = built_in().iter().map(|category| category.name.to_string()).collect();
    let mut table = format!("| labelled \\ routed | {} |\n|---|{}\n", names.join(" | "), "--:|".repeat(names.len()));
    for expected in &names {
        let cells: Vec<String> = names
            .iter()
            .map(|got| counts.get(&(expected.clone(), got.clone())).map_or_else(|| "·".to_owned(), usize::to_string))
            .collect();
        writeln!(table, "| **{expected}** | {} |", cells.join(" | ")).expect("a String");
    }
    let right = counts.iter().filter(|((expected, got), _)| expected == got).map(|(_, n)| n).sum();
    (table, misses, right, prompts.len())
}

#[test]
fn the_documented_confusion_tables_are_those_of_the_router() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/routing.md");
    let page = std::fs::read_to_string(path).unwrap_or_default();
    let (mut total, mut missing) = (0, String::new());
    for (name, file, least) in [("tuned", TUNED, 90), ("held out", HELD_OUT, 85), ("hard", HARD, 20)] {
        let (table, misses, right, of) = measure(file);
        let percent = right * 100 / of;
        let section = format!("**{name}: {right} of {of} right ({percent} %)**\n\n{table}");
        if !page.contains(&section) {
            writeln!(missing, "{section}\nMisses:\n{misses}").expect("a String");
        }
        assert!(percent >= least, "{name}: {percent} % is less than before");
        total += of;
    }
    assert!(missing.is_empty(), "docs/routing.md must hold:\n{missing}");
    assert!(total >= 150);
}

fn listed(models: &[(&str, i64)]) -> PriceList {
    let model = |(id, dollars): &(&str, i64)| {
        // A price per million in dollars is one per token in millionths.
        let rate = Some(Usd::from_pico(dollars * 1_000_000));
        let rates = Rates { prompt: rate, completion: rate, ..Rates::default() };
        Model { id: (*id).into(), canonical: None, prices: vec![Price { rates, ..Price::default() }] }
    };
    PriceList::new(models.iter().map(model).collect(), Timestamp::from_secs(1), Duration::from_secs(60))
}

fn category(name: &str, keywords: &[&str], models: &[&str], ceiling: Option<&str>) -> Category {
    let ceiling = ceiling.map(|text| text.parse::<Usd>().expect("dollars"));
    let offer = |model: &&str| Offer { model: (**model).into(), max_prompt: ceiling, max_completion: ceiling };
    Category {
        name: name.into(),
        description: "".into(),
        keywords: keywords.iter().map(|word| (*word).into()).collect(),
        models: models.iter().map(offer).collect(),
    }
}

fn small_router() -> Router {
    let categories = vec![
        category("conversational", &[], &["a/last"], None),
        category("coding", &[], &["a/dear", "a/gone", "a/good"], Some("2")),
        category("knitting", &["stitch*", "yarn"], &["a/wool"], None),
    ];
    Router::new(categories, LONG)
}

#[test]
fn models_are_taken_in_order_and_passed_over_with_a_reason() {
    let router = small_router();
    let list = listed(&[("a/dear", 3), ("a/good", 2), ("a/last", 9), ("a/wool", 9)]);
    let code = Features::of_text("write a Python function");
    let decided = router.decide(&code, None, Some(&list), &|_| true).expect("a model");
    assert_eq!((&*decided.category, &*decided.model), ("coding", "a/good"));
    let passed = [("a/dear".into(), PassedOver::TooDear), ("a/gone".into(), PassedOver::NotListed)];
    assert_eq!(decided.passed_over, passed);
    assert!(decided.reason.contains("\"python\"") && decided.reason.contains("a/gone is not listed"), "{decided:?}");

    let decided = router.decide(&code, None, Some(&list), &|model| model != "a/good").expect("a model");
    assert_eq!((&*decided.category, &*decided.model), ("coding", "a/last"), "the default category's models are last");
    let nobody = router.decide(&code, None, Some(&list), &|_| false);
    assert_eq!(nobody, Err(NoModel { category: "coding".into(), is_barred: true }));

    let unlisted = router.decide(&code, None, None, &|_| true).expect("a model");
    assert_eq!(&*unlisted.model, "a/dear", "without a list nothing is passed over");
    assert!(unlisted.reason.contains("not known yet"));
}

#[test]
fn a_named_category_is_obeyed_and_own_ones_have_their_words() {
    let (router, list) = (small_router(), listed(&[("a/good", 2), ("a/wool", 9)]));
    let decide = |text: &str, named| router.decide(&Features::of_text(text), named, Some(&list), &|_| true);
    let wool = decide("which yarn for a beret, and how many stitches?", None).expect("a model");
    assert_eq!((&*wool.category, &*wool.model), ("knitting", "a/wool"));
    let named = decide("which yarn?", Some("coding")).expect("a model");
    assert_eq!(
        (&*named.category, named.reason.split(';').next().unwrap_or_default()),
        ("coding", "the request names the category")
    );
}

#[test]
fn an_unknown_price_is_above_every_ceiling() {
    let unpriced = Model { id: "a/dear".into(), canonical: None, prices: Vec::new() };
    let list = PriceList::new(vec![unpriced], Timestamp::from_secs(1), Duration::from_secs(60));
    let decided = small_router().decide(&Features::default(), Some("coding"), Some(&list), &|_| true);
    assert!(decided.is_err());
}

#[test]
fn words_are_whole_words() {
    let router = router();
    let check = |text: &str, expected: &str| {
        let (got, reason, _) = router.classify(&Features::of_text(text));
        assert_eq!(got, expected, "{text}: {reason}");
    };
    check("history of the trustworthy", "conversational");
    check("RUST!", "coding");
    check("请翻译一下", "translation");
    check("unsummarized", "conversational");
    check("summarizing", "summarization");
}

proptest! {
    #[test]
    fn any_text_is_decided_and_always_alike(text in "\\PC{0,300}", system in "\\PC{0,50}") {
        let router = router();
        let features = Features { system, ..Features::of_text(&text) };
        let (name, reason, signals) = router.classify(&features);
        prop_assert!(router.category(name).is_some());
        prop_assert_eq!((name, reason, signals), router.classify(&features));
    }
}
