//! Settings that are numbers: times, sizes, counts, money.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Describe, Kind, Sample};
use crate::config::raw::{Given, Value};
use crate::money::Usd;

/// A time in milliseconds.
pub(in crate::config) struct Millis {
    pub(in crate::config) default: u64,
    pub(in crate::config) min: u64,
    pub(in crate::config) max: u64,
}

impl Kind for Millis {
    type Checked = Duration;

    fn default(&self) -> Duration {
        Duration::from_millis(self.default)
    }

    fn read(&self, given: &Given) -> Result<Duration, String> {
        given.in_range(self.min, self.max, "milliseconds").map(Duration::from_millis)
    }
}

impl Describe for Millis {
    fn describe(&self) -> String {
        let default = self.default;
        let words = duration_in_words(default);
        format!("Milliseconds, {} to {}; default {default} ({words}).", self.min, self.max)
    }

    fn sample(&self) -> Sample {
        Sample::Default(self.default.to_string())
    }
}

/// A number of things, or of things per second.
pub(in crate::config) struct Count {
    pub(in crate::config) default: u64,
    pub(in crate::config) min: u64,
    pub(in crate::config) max: u64,
    pub(in crate::config) unit: &'static str,
}

impl Count {
    /// A size.
    pub(in crate::config) const fn bytes(default: u64, min: u64, max: u64) -> Self {
        Self { default, min, max, unit: "bytes" }
    }
}

impl Kind for Count {
    type Checked = usize;

    fn default(&self) -> usize {
        usize::try_from(self.default).unwrap_or(usize::MAX)
    }

    fn read(&self, given: &Given) -> Result<usize, String> {
        given.in_range(self.min, self.max, self.unit).map(|n| usize::try_from(n).unwrap_or(usize::MAX))
    }
}

impl Describe for Count {
    fn describe(&self) -> String {
        if self.unit == "bytes" {
            let (min, max, default) = (self.min, self.max, self.default);
            return format!("Bytes, {min} to {max}; default {default} ({}).", bytes_in_words(default));
        }
        let unit = self.unit.get(..1).unwrap_or_default().to_uppercase() + self.unit.get(1..).unwrap_or_default();
        format!("{unit}, {} to {}; default {}.", self.min, self.max, self.default)
    }

    fn sample(&self) -> Sample {
        Sample::Default(self.default.to_string())
    }
}

/// A number of worker threads; none written is one per CPU this process may use.
pub(in crate::config) struct Threads {
    pub(in crate::config) max: u64,
}

impl Kind for Threads {
    type Checked = usize;

    fn default(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    fn read(&self, given: &Given) -> Result<usize, String> {
        given.in_range(1, self.max, "threads").map(|n| usize::try_from(n).unwrap_or(usize::MAX))
    }
}

impl Describe for Threads {
    fn describe(&self) -> String {
        format!("Threads, 1 to {}; default one per CPU.", self.max)
    }

    fn sample(&self) -> Sample {
        Sample::Example("4".into())
    }
}

/// A growing list of times in milliseconds.
pub(in crate::config) struct Schedule {
    pub(in crate::config) default: &'static [u64],
    pub(in crate::config) min: u64,
    pub(in crate::config) max: u64,
    pub(in crate::config) entries_max: usize,
}

impl Kind for Schedule {
    type Checked = Vec<Duration>;

    fn default(&self) -> Vec<Duration> {
        self.default.iter().copied().map(Duration::from_millis).collect()
    }

    fn read(&self, given: &Given) -> Result<Vec<Duration>, String> {
        let rule = || {
            let (min, max) = (self.min, self.max);
            let count = self.entries_max;
            format!("must be a list of 1 to {count} growing whole numbers of milliseconds, each from {min} to {max}")
        };
        let Value::List(items) = &given.value else { return Err(rule()) };
        let times: Option<Vec<u64>> = items
            .iter()
            .map(|item| match item {
                Value::Integer(n) => u64::try_from(*n).ok().filter(|n| (self.min..=self.max).contains(n)),
                _ => None,
            })
            .collect();
        match times {
            Some(times) if (1..=self.entries_max).contains(&times.len()) && times.is_sorted() => {
                Ok(times.into_iter().map(Duration::from_millis).collect())
            }
            _ => Err(rule()),
        }
    }
}

impl Describe for Schedule {
    fn describe(&self) -> String {
        let words: Vec<String> = self.default.iter().map(|ms| duration_in_words(*ms)).collect();
        let (min, max) = (self.min, self.max);
        let count = self.entries_max;
        format!("Milliseconds, up to {count} growing entries of {min} to {max}; default {}.", words.join(", "))
    }

    fn sample(&self) -> Sample {
        Sample::Default(format!("{:?}", self.default))
    }
}

/// An amount of dollars that need not be given.
pub(in crate::config) struct Money {
    pub(in crate::config) example: &'static str,
}

impl Kind for Money {
    type Checked = Option<Usd>;

    fn default(&self) -> Option<Usd> {
        None
    }

    fn read(&self, given: &Given) -> Result<Option<Usd>, String> {
        let amount = match &given.value {
            Value::Text(text) => text.trim().parse().ok(),
            Value::Integer(dollars) => dollars.to_string().parse().ok(),
            _ => None,
        };
        let positive = amount.filter(|amount| *amount > Usd::ZERO);
        let rule =
            || format!("must be dollars above 0 in quotes, as in \"{}\", not {}", self.example, given.value.shown());
        positive.map(Some).ok_or_else(rule)
    }
}

impl Describe for Money {
    fn describe(&self) -> String {
        "Dollars, in quotes; default none.".into()
    }

    fn sample(&self) -> Sample {
        Sample::Example(format!("\"{}\"", self.example))
    }
}

/// `90000` → `1 min 30 s`.
fn duration_in_words(ms: u64) -> String {
    let parts = [(ms / 3_600_000, "h"), (ms / 60_000 % 60, "min"), (ms / 1000 % 60, "s"), (ms % 1000, "ms")];
    let mut out = String::new();
    for (n, unit) in parts.iter().filter(|(n, _)| *n > 0) {
        let gap = if out.is_empty() { "" } else { " " };
        // Writing to a String cannot fail.
        write!(out, "{gap}{n} {unit}").unwrap_or_default();
    }
    if out.is_empty() { "0".into() } else { out }
}

fn bytes_in_words(bytes: u64) -> String {
    [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
        .iter()
        .find(|(size, _)| bytes >= *size && bytes.is_multiple_of(*size))
        .map_or_else(|| format!("{bytes} B"), |(size, unit)| format!("{} {unit}", bytes / size))
}
