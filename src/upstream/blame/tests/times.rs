//! Times are believed within bounds only.

use super::*;

fn capped_until(window: &str, resets_at: impl Into<Value>) -> Option<Timestamp> {
    let said = said(403, &format!("Key limit exceeded{window}")).meta("resets_at", resets_at);
    match said.judged(Form::Chat).effect {
        Effect::KeyCapped { until } => until,
        other => panic!("{other:?}"),
    }
}

#[test]
fn resets_are_read_in_any_notation() {
    let expected = Some(at("2026-11-27T08:00:00Z"));
    assert_eq!(capped_until("", "2026-11-27T08:00:00Z"), expected);
    assert_eq!(capped_until("", " 2026-11-27T09:00:00+01:00 "), expected);
    assert_eq!(capped_until("", 1_795_766_400_i64), expected);
    assert_eq!(capped_until("", 1_795_766_400_000_i64), expected);
    assert_eq!(capped_until("", "1795766400000"), expected);
    assert_eq!(capped_until("", "1795766400.0"), expected);
    assert_eq!(capped_until("", 1.795_766_4e12), expected);
}

#[test]
fn resets_out_of_bounds_are_not_believed() {
    let midnight = Some(at("2026-11-26T00:00:00Z"));
    let odd = [
        json!("9999-12-31T23:59:59Z"),
        json!("2027-06-01T00:00:00Z"),
        json!("2020-01-01T00:00:00Z"),
        json!("0001-01-01T00:00:00Z"),
        json!("tomorrow"),
        json!(""),
        json!("NaN"),
        json!("inf"),
        json!("-1e300"),
        json!(1e300),
        json!(-1e300),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(0),
        json!(253_402_300_799_000_i64),
    ];
    for told in odd {
        assert_eq!(capped_until(" (daily limit)", told.clone()), midnight, "{told}");
        assert_eq!(capped_until("", told.clone()), None, "{told}");
    }
    assert_eq!(capped_until("", "2026-12-27T15:30:00Z"), Some(at("2026-12-27T15:30:00Z")), "32 days");
    assert_eq!(capped_until("", "2026-12-27T15:30:01Z"), None);
}

#[test]
fn a_reset_just_past_is_a_clock_that_runs_ahead() {
    let soon = Some(at("2026-11-25T15:31:00Z"));
    assert_eq!(capped_until(" (daily limit)", NOW), soon);
    assert_eq!(capped_until(" (daily limit)", "2026-11-25T15:25:00Z"), soon);
    assert_eq!(capped_until(" (daily limit)", "2026-11-25T15:24:59Z"), Some(at("2026-11-26T00:00:00Z")));
}

#[test]
fn free_resets_are_bounded() {
    let until = |text: &str, reset: &'static str| match said(429, text).reset(reset).judged(Form::Chat).effect {
        Effect::FreeLaneLimited { until } => until,
        other => panic!("{other:?}"),
    };
    let (day, minute) = ("Rate limit exceeded: free-models-per-day", "Rate limit exceeded: free-models-per-min");
    for odd in ["253402300799000", "0", "-5", "never", "", "NaN", "1e400", "1795620599999", "9223372036854775807"] {
        assert_eq!(until(day, odd), at("2026-11-26T00:00:00Z"), "{odd}");
        let told = until(minute, odd);
        assert_eq!(told, at("2026-11-25T15:31:00Z"), "{odd}");
    }
    // 25 hours from now, and a second more.
    assert_eq!(until(day, "1795710600000"), at("2026-11-26T16:30:00Z"));
    assert_eq!(until(day, "1795710601000"), at("2026-11-26T00:00:00Z"));
    // In seconds.
    assert_eq!(until(minute, "1795620630"), at("2026-11-25T15:30:30Z"));
}

#[test]
fn rests_are_bounded() {
    let busy =
        |told| match said(402, "").meta("reason", "in_flight_budget_exhausted").after(told).judged(Form::Chat).effect {
            Effect::AccountBusy { rest } => rest,
            other => panic!("{other:?}"),
        };
    assert_eq!(busy("0"), secs(1));
    assert_eq!(busy(" 90 "), secs(90));
    assert_eq!(busy("1.5"), Duration::from_millis(1500));
    assert_eq!(busy("999999999999"), secs(900));
    for odd in ["-5", "soon", "", "NaN", "inf", "1e300", "Wed, 25 Nov 2026 15:35:00 GMT"] {
        assert_eq!(busy(odd), secs(120), "{odd}");
    }
    let edge = |told: &'static str| {
        let answer = Answer { body: b"<html>", retry_after: Some(told), ..plain(429) };
        judge(&answer, now()).effect
    };
    assert_eq!(edge("86400"), Effect::EveryoneRests { rest: secs(300) });
    assert_eq!(edge("0"), Effect::EveryoneRests { rest: secs(1) });
    let own = |told| said(429, "Provider returned error").meta("is_byok", true).after(told).judged(Form::Chat).effect;
    assert_eq!(own("86400"), Effect::AccountRests { what: "openai/".into(), rest: secs(3600) });
}
