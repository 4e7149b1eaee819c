//! What a query says: which lines of the ledger are meant, and how they are to be shown.

use std::str::FromStr;

use axum::extract::Query;
use http::Uri;
use utoipa::IntoParams;

use crate::clock::{Day, Timestamp};
use crate::money::{ClientId, Outcome, UserId};
use crate::pool::KeyId;
use crate::store::{Cursor, LedgerFilter};

use super::asks::{CLIENT_ID, key_id, parse_client_id};
use super::refused::Refused;
use super::text;

/// Lines of a page, when nobody says how many.
const LINES: u64 = 100;
/// Lines of a page at most.
const LINES_MAX: u64 = 1000;
/// Characters of a model's name.
const MODEL_MAX_CHARS: usize = 200;

/// The parameters that have not been taken yet.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn parse(uri: &Uri) -> Result<Self, Refused> {
        let Query(parameters) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| Refused::Query)?;
        Ok(Self(parameters))
    }

    fn take(&mut self, field: &'static str) -> Result<Option<String>, Refused> {
        let Some(at) = self.0.iter().position(|(name, _)| name == field) else { return Ok(None) };
        let (_, value) = self.0.swap_remove(at);
        match self.0.iter().any(|(name, _)| name == field) {
            true => Err(Refused::Twice { field: field.to_owned() }),
            false => Ok(Some(value)),
        }
    }

    fn read<T>(
        &mut self,
        field: &'static str,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Refused> {
        let Some(value) = self.take(field)? else { return Ok(None) };
        read(&value).map(Some).ok_or(Refused::WrongValue { field, expected })
    }

    fn finish(self) -> Result<(), Refused> {
        match self.0.first() {
            Some((name, _)) => Err(Refused::Unknown { field: super::fields::shown(name) }),
            None => Ok(()),
        }
    }
}

/// Which lines of the ledger are meant; all of them without any of these.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct FilterWord {
    /// Lines of this time and later: RFC 3339, or a UTC date. Sums go by whole days.
    #[param(value_type = Option<String>, example = "2026-11-01")]
    from: Option<Timestamp>,
    /// Lines before this time; of a date, that whole day is meant.
    #[param(value_type = Option<String>, example = "2026-11-30")]
    to: Option<Timestamp>,
    /// Lines of this key.
    #[param(value_type = Option<String>, example = "k1")]
    key: Option<KeyId>,
    /// Lines of this client.
    #[param(value_type = Option<String>, example = "c1")]
    client: Option<ClientId>,
    /// Lines of this model; `*` stands for anything, `?` for one character, and case does not matter.
    #[param(example = "openai/*")]
    model: Option<String>,
    /// Lines of attempts that ended so.
    outcome: Option<Outcome>,
}

const TIME: &str = "a time or a date, such as 2026-11-24T12:00:00Z or 2026-11-24";
const DATE: &str = "a date, such as 2026-11-24";
const OUTCOME: &str = "one of answered, failed_inside, key_refused, refused, unreachable, broken and client_gone";

impl FilterWord {
    fn take(parameters: &mut Parameters) -> Result<LedgerFilter, Refused> {
        let from = parameters.read("from", TIME, |text| time(text).or_else(|| Some(text::day(text)?.start())))?;
        let to = parameters.read("to", TIME, |text| time(text).or_else(|| Some(end_of(text::day(text)?))))?;
        let key = parameters.take("key")?.map(|id| key_id("key", &id)).transpose()?;
        let client = parameters.read("client", CLIENT_ID, parse_client_id)?;
        let model = parameters.take("model")?.map(|model| text::check(&model, MODEL_MAX_CHARS));
        let model = model.transpose().map_err(|fault| Refused::Text { field: "model", fault })?;
        let outcome = parameters.read("outcome", OUTCOME, Outcome::from_name)?;
        let word = Self { from, to, key, client, model, outcome };
        word.resolve()
    }

    fn resolve(self) -> Result<LedgerFilter, Refused> {
        let Self { from, to, key, client, model, outcome } = self;
        if let (Some(from), Some(to)) = (from, to)
            && to <= from
        {
            return Err(Refused::WrongValue { field: "to", expected: "later than from" });
        }
        Ok(LedgerFilter { from, to, key, client, model, outcome })
    }
}

fn time(text: &str) -> Option<Timestamp> {
    // A plus sign that is not escaped has become a space.
    text::time(text).or_else(|| text::time(&text.replace(' ', "+")))
}

fn end_of(day: Day) -> Timestamp {
    day.start().next_midnight()
}

/// How an answer of many lines is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One object, which is a page.
    Json,
    /// An object on each line, to the last line.
    Ndjson,
    /// A table, to the last line.
    Csv,
}

impl Format {
    const ALL: [Self; 3] = [Self::Json, Self::Ndjson, Self::Csv];

    const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
        }
    }

    /// The first of the media types in an `Accept` header that we have.
    fn accepted(accept: &str) -> Option<Self> {
        let essence = |kind: &str| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let ours = |kind: &str| Self::ALL.into_iter().find(|format| format.media_type() == essence(kind));
        accept.split(',').find_map(ours)
    }

    fn take(parameters: &mut Parameters, accept: Option<&str>) -> Result<Self, Refused> {
        let named = parameters.read("format", "one of json, ndjson and csv", |text| {
            Self::ALL.into_iter().find(|format| format.name() == text)
        })?;
        Ok(named.or_else(|| Self::accepted(accept?)).unwrap_or(Self::Json))
    }
}

/// How many lines, from where on, and how written.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageWord {
    /// Lines of a JSON page: 1 to 1,000, or 100 when nothing is said. Of NDJSON and CSV, which go on to the last line,
    /// lines in all.
    #[param(value_type = Option<u64>, minimum = 1)]
    pub(super) limit: u64,
    /// Where another page ended: its `next`.
    #[param(value_type = Option<String>)]
    pub(super) cursor: Option<Cursor>,
    /// `json`, `ndjson` or `csv`; without it, as the `Accept` header says.
    #[param(value_type = Option<String>)]
    pub(super) format: Format,
}

impl PageWord {
    fn take(parameters: &mut Parameters, accept: Option<&str>) -> Result<Self, Refused> {
        let format = Format::take(parameters, accept)?;
        let (usual, most, expected) = match format {
            Format::Json => (LINES, LINES_MAX, "a whole number from 1 to 1000"),
            Format::Ndjson | Format::Csv => (u64::MAX, u64::MAX, "a whole number above zero"),
        };
        let limit = parameters.read("limit", expected, |text| text.parse().ok().filter(|n| (1..=most).contains(n)))?;
        let cursor = parameters.read("cursor", "the next of another page", |text| Cursor::from_str(text).ok())?;
        Ok(Self { limit: limit.unwrap_or(usual), cursor, format })
    }
}

/// Which of a client's users.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct UsersWord {
    /// Users of a page: 1 to 1,000, or 100 when nothing is said.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
    pub(super) limit: u64,
    /// Where another page ended: its `next`.
    #[param(value_type = Option<String>, example = "u100")]
    pub(super) after: Option<UserId>,
}

/// Read the query of `GET /clients/{id}/users`.
pub(super) fn users(uri: &Uri) -> Result<UsersWord, Refused> {
    let mut parameters = Parameters::parse(uri)?;
    let limit = parameters.read("limit", "a whole number from 1 to 1000", |text| {
        text.parse().ok().filter(|n| (1..=LINES_MAX).contains(n))
    })?;
    let after =
        parameters.read("after", "a user's id, such as u1", |text| text.strip_prefix('u')?.parse().ok().map(UserId))?;
    parameters.finish()?;
    Ok(UsersWord { limit: limit.unwrap_or(LINES), after })
}

/// Read the query of `GET /ledger`.
pub(super) fn ledger(uri: &Uri, accept: Option<&str>) -> Result<(LedgerFilter, PageWord), Refused> {
    let mut parameters = Parameters::parse(uri)?;
    let read = (FilterWord::take(&mut parameters)?, PageWord::take(&mut parameters, accept)?);
    parameters.finish()?;
    Ok(read)
}

/// Read the query of `GET /ledger/summary`.
pub(super) fn summary(uri: &Uri, accept: Option<&str>) -> Result<(LedgerFilter, Format), Refused> {
    let mut parameters = Parameters::parse(uri)?;
    let read = (FilterWord::take(&mut parameters)?, Format::take(&mut parameters, accept)?);
    parameters.finish()?;
    Ok(read)
}

/// The days of a receipt.
#[derive(Debug, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PeriodWord {
    /// The first UTC day; the first of the last day's month when nothing is said.
    #[param(value_type = Option<String>, example = "2026-11-01")]
    pub(super) from: Day,
    /// The last UTC day; today when nothing is said.
    #[param(value_type = Option<String>, example = "2026-11-30")]
    pub(super) to: Day,
}

/// Read the query of a receipt.
pub(super) fn period(uri: &Uri, today: Day) -> Result<PeriodWord, Refused> {
    let mut parameters = Parameters::parse(uri)?;
    let from = parameters.read("from", DATE, text::day)?;
    let to = parameters.read("to", DATE, text::day)?.unwrap_or(today);
    parameters.finish()?;
    let period = PeriodWord { from: from.unwrap_or(to.first_of_month()), to };
    if period.to < period.from {
        return Err(Refused::WrongValue { field: "to", expected: "the same as from, or later" });
    }
    Ok(period)
}

#[cfg(test)]
mod tests;
