//! When limits turn: UTC midnights, Mondays and firsts of the month, worked out here rather than taken from `clock`.

use serde::{Deserialize, Serialize};

const DAY_MS: i64 = 86_400_000;

/// How often a limit or a budget starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reset {
    /// At each UTC midnight.
    Daily,
    /// Mondays at 00:00 UTC.
    Weekly,
    /// On the first of each month at 00:00 UTC.
    Monthly,
}

impl Reset {
    /// All of them, in the order of `Spend`'s windows.
    pub const ALL: [Self; 3] = [Self::Daily, Self::Weekly, Self::Monthly];

    /// The word the API uses.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }

    /// Start of the window that holds `now`, in milliseconds since the epoch.
    pub fn window_start(self, now_ms: i64) -> i64 {
        let day = now_ms.div_euclid(DAY_MS);
        let first = match self {
            Self::Daily => day,
            // Day 0 was a Thursday.
            Self::Weekly => day - (day + 3).rem_euclid(7),
            Self::Monthly => {
                let (_, _, of_month) = civil(day);
                day - i64::from(of_month) + 1
            }
        };
        first * DAY_MS
    }

    /// Start of the next window, in milliseconds since the epoch.
    pub fn next(self, now_ms: i64) -> i64 {
        let start = self.window_start(now_ms);
        match self {
            Self::Daily => start + DAY_MS,
            Self::Weekly => start + 7 * DAY_MS,
            // 32 days after a first is always in the following month.
            Self::Monthly => self.window_start(start + 32 * DAY_MS),
        }
    }
}

/// Year, month and day of a day counted from 1970-01-01 (proleptic Gregorian; Hinnant's algorithm).
fn civil(day: i64) -> (i64, u32, u32) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, u32::try_from(month).unwrap_or(1), u32::try_from(of_month).unwrap_or(1))
}

/// RFC 3339 in UTC with milliseconds, as JavaScript's `toISOString`.
pub fn iso(ms: i64) -> String {
    let (day, rest) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let (year, month, of_month) = civil(day);
    let (s, milli) = (rest / 1000, rest % 1000);
    format!("{year:04}-{month:02}-{of_month:02}T{:02}:{:02}:{:02}.{milli:03}Z", s / 3600, s / 60 % 60, s % 60)
}

/// The `Date` header's form.
pub fn http_date(ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (day, s) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS) / 1000);
    let (year, month, of_month) = civil(day);
    let weekday = DAYS.get(usize::try_from(day.rem_euclid(7)).unwrap_or(0)).unwrap_or(&"Thu");
    let month = MONTHS.get(usize::try_from(month).unwrap_or(1).saturating_sub(1)).unwrap_or(&"Jan");
    format!("{weekday}, {of_month:02} {month} {year:04} {:02}:{:02}:{:02} GMT", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_turn_at_utc_boundaries() {
        // 2026-11-29T23:59:59.999Z, a Sunday.
        let sunday = 1_795_996_799_999;
        assert_eq!(iso(sunday), "2026-11-29T23:59:59.999Z");
        for (now, reset, start, next) in [
            (0, Reset::Daily, "1970-01-01T00:00:00.000Z", "1970-01-02T00:00:00.000Z"),
            (0, Reset::Weekly, "1969-12-29T00:00:00.000Z", "1970-01-05T00:00:00.000Z"),
            (sunday, Reset::Weekly, "2026-11-23T00:00:00.000Z", "2026-11-30T00:00:00.000Z"),
            (sunday, Reset::Monthly, "2026-11-01T00:00:00.000Z", "2026-12-01T00:00:00.000Z"),
            (1_835_438_400_000, Reset::Monthly, "2028-02-01T00:00:00.000Z", "2028-03-01T00:00:00.000Z"),
        ] {
            assert_eq!((iso(reset.window_start(now)).as_str(), iso(reset.next(now)).as_str()), (start, next));
        }
        assert_eq!(http_date(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
