//! Queries, as tables.

use super::*;

fn uri(query: &str) -> Uri {
    format!("/ledger?{query}").parse().expect("a target")
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

fn day(text: &str) -> Day {
    text::day(text).expect("a date")
}

#[test]
fn a_filter_says_which_lines_are_meant() {
    let check = |query: &str, filter: LedgerFilter| {
        assert_eq!(ledger(&uri(query), None).map(|(filter, _)| filter), Ok(filter), "{query}");
    };
    let all = LedgerFilter::default;
    check("", all());
    check("from=2026-11-24", LedgerFilter { from: Some(at("2026-11-24T00:00:00Z")), ..all() });
    check("to=2026-11-24", LedgerFilter { to: Some(at("2026-11-25T00:00:00Z")), ..all() });
    let (from, to) = (Some(at("2026-11-24T00:00:00Z")), Some(at("2026-11-25T00:00:00Z")));
    check("from=2026-11-24&to=2026-11-24", LedgerFilter { from, to, ..all() });
    check("to=2026-11-24T12:00:00Z", LedgerFilter { to: Some(at("2026-11-24T12:00:00Z")), ..all() });
    for plus in ["+", "%2B"] {
        let from = Some(at("2026-11-24T11:00:00Z"));
        check(&format!("from=2026-11-24T12:00:00{plus}01:00"), LedgerFilter { from, ..all() });
    }
    check("key=k12", LedgerFilter { key: Some(KeyId(12)), ..all() });
    check("client=c3", LedgerFilter { client: Some(ClientId(3)), ..all() });
    check("model=openai%2Fgpt-*", LedgerFilter { model: Some("openai/gpt-*".to_owned()), ..all() });
    check("model=openai/gpt-4o", LedgerFilter { model: Some("openai/gpt-4o".to_owned()), ..all() });
    for outcome in Outcome::ALL {
        check(&format!("outcome={}", outcome.name()), LedgerFilter { outcome: Some(outcome), ..all() });
    }
}

#[test]
fn a_page_says_how_many_lines_and_how_written() {
    let check = |query: &str, accept: Option<&str>, limit: u64, format: Format| {
        let (_, page) = ledger(&uri(query), accept).expect(query);
        assert_eq!((page.limit, page.format), (limit, format), "{query} {accept:?}");
    };
    check("", None, 100, Format::Json);
    check("limit=1000", None, 1000, Format::Json);
    check("format=csv", None, u64::MAX, Format::Csv);
    check("format=ndjson&limit=5000", None, 5000, Format::Ndjson);
    check("", Some("text/csv"), u64::MAX, Format::Csv);
    check("", Some("*/*"), 100, Format::Json);
    check("", Some("text/html, Application/X-NDJSON;q=0.5, text/csv"), u64::MAX, Format::Ndjson);
    check("format=json", Some("text/csv"), 100, Format::Json);
    let (_, page) = ledger(&uri("cursor=1795489200000.42"), None).expect("a cursor");
    assert_eq!(page.cursor.map(|cursor| cursor.to_string()).as_deref(), Some("1795489200000.42"));
    assert_eq!(summary(&uri("key=k1&format=csv"), None).map(|(filter, format)| (filter.key, format)).ok(), {
        Some((Some(KeyId(1)), Format::Csv))
    });
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let check = |query: &str, code: &str, field: Option<&str>| {
        let refused = ledger(&uri(query), None).map(|_| ()).expect_err(query);
        assert_eq!((refused.code(), refused.field()), (code, field), "{query}");
    };
    for wrong in ["yesterday", "2026-13-01", "2026-11-24T25:00:00Z", "", "1795489200"] {
        check(&format!("from={wrong}"), "field_wrong_value", Some("from"));
        check(&format!("to={wrong}"), "field_wrong_value", Some("to"));
    }
    check("from=2026-11-24&to=2026-11-23", "field_wrong_value", Some("to"));
    check("from=2026-11-24T12:00:00Z&to=2026-11-24T12:00:00Z", "field_wrong_value", Some("to"));
    for wrong in ["1", "sk-or-v1-0011223344556677", "k-1", ""] {
        check(&format!("key={wrong}"), "field_wrong_value", Some("key"));
        check(&format!("client={wrong}"), "field_wrong_value", Some("client"));
    }
    check("model=", "field_text", Some("model"));
    check("model=%00", "field_text", Some("model"));
    check("outcome=ok", "field_wrong_value", Some("outcome"));
    for wrong in ["0", "1001", "-1", "all", ""] {
        check(&format!("limit={wrong}"), "field_wrong_value", Some("limit"));
    }
    check("format=csv&limit=0", "field_wrong_value", Some("limit"));
    check("cursor=1", "field_wrong_value", Some("cursor"));
    check("format=xml", "field_wrong_value", Some("format"));
    check("key=k1&key=k2", "field_twice", Some("key"));
    check("kye=k1", "field_unknown", Some("kye"));
    check("sk-or-v1-0011223344556677=1", "field_unknown", None);
    assert!(summary(&uri("limit=5"), None).is_err(), "a summary has no pages");
}

#[test]
fn a_receipt_is_for_whole_days_this_month_when_nothing_is_said() {
    let today = day("2026-11-24");
    let check = |query: &str, from: &str, to: &str| {
        assert_eq!(period(&uri(query), today), Ok(PeriodWord { from: day(from), to: day(to) }), "{query}");
    };
    check("", "2026-11-01", "2026-11-24");
    check("from=2026-10-05", "2026-10-05", "2026-11-24");
    check("to=2026-10-31", "2026-10-01", "2026-10-31");
    check("from=2026-11-24&to=2026-11-24", "2026-11-24", "2026-11-24");
    for (query, field) in [
        ("from=2026-11-25", "to"),
        ("from=2026-11-02&to=2026-11-01", "to"),
        ("from=2026-11-01T00:00:00Z", "from"),
        ("key=k1", "key"),
    ] {
        assert_eq!(period(&uri(query), today).map_err(|r| r.field().map(str::to_owned)), Err(Some(field.to_owned())));
    }
}
