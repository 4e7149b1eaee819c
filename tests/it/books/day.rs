//! A day's figures: they turn at UTC midnight, and a late finding belongs to the day it was billed on.

use std::time::Duration;

use super::EAGER;
use crate::support::{Ask, House, chat, chat_stream};

const CHAT: &str = "/api/v1/chat/completions";
const BEFORE_MIDNIGHT: Duration = Duration::from_millis(12 * 3_600_000 - 300);

/// Spent today and in all, in pico-dollars, and the day's figure as the admin API writes it.
async fn spent(house: &House) -> (i64, i64, String) {
    let overview = house.until("all is booked", |o| o.in_flight == 0).await;
    let key = &overview.keys[0].totals;
    assert_eq!((key.spent_today, key.spent_total), (overview.spent_today, overview.spent_total));
    let shown = Ask::get("/status").send(house.admin).await.json();
    let shown = shown["openrouter"]["stats"]["totalCostToday"].as_str().unwrap().to_owned();
    (overview.spent_today.as_pico(), overview.spent_total.as_pico(), shown)
}

async fn pay(house: &House, usd: &str) {
    let answer = house.ask(&Ask::post(CHAT, chat(&format!("sim/echo?cost={usd}")))).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn the_days_figure_begins_anew_at_utc_midnight() {
    let house = House::new(1, "").await;
    pay(&house, "0.25").await;
    assert_eq!(spent(&house).await, (250_000_000_000, 250_000_000_000, "$0.2500".to_owned()));
    house.pass(BEFORE_MIDNIGHT);
    pay(&house, "1.5").await;
    assert_eq!(spent(&house).await, (1_750_000_000_000, 1_750_000_000_000, "$1.7500".to_owned()));
    house.pass(Duration::from_millis(300));
    assert_eq!(spent(&house).await, (0, 1_750_000_000_000, "$0.0000".to_owned()));
    pay(&house, "3e-7").await;
    let (today, total, _) = spent(&house).await;
    assert_eq!((today, total), (300_000, 1_750_000_300_000));
    let house = house.restart().await;
    assert_eq!(spent(&house).await.0, 300_000, "and a restart changes nothing");
    house.assert_books_balance().await;
}

#[tokio::test]
async fn what_is_found_after_midnight_belongs_to_the_day_before() {
    let house = House::new(1, EAGER).await;
    house.pass(BEFORE_MIDNIGHT);
    let yesterday = house.clock.now().day();
    let mut reading = Ask::post(CHAT, chat_stream("sim/fixture-8")).open(house.proxy).await;
    reading.chunk().await.unwrap().unwrap();
    drop(reading);
    // Real time passes here, not the clock's: the attempt ends on the day it began.
    while house.overview().await.suspense.open == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(house.clock.now().day(), yesterday);
    house.pass(Duration::from_millis(300));
    house.assert_books_balance().await;
    let (today, total, shown) = spent(&house).await;
    assert_eq!((today, shown.as_str()), (0, "$0.0000"));
    assert!(total > 0);
    let then = house.pot.store().totals(yesterday).await.unwrap();
    assert_eq!(then.spent_today.as_pico(), total);
}
