//! The first layer: what was written and where, by setting; nothing is judged yet but its name.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Source};
use super::settings::{self, Row};

/// A value as written. Text from the environment or a flag is [`Value::Text`] whatever the setting wants.
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Switch(bool),
    List(Vec<Value>),
    /// A table that is one setting's value, its entries in order.
    Table(Vec<(String, Value)>),
    /// Something no setting takes, by the name of its type.
    Other(&'static str),
}

/// A value and where it was written.
pub(super) struct Given {
    pub(super) value: Value,
    pub(super) source: Source,
}

/// Everything that was written, by the path of the setting; a later layer replaces an earlier one.
#[derive(Default)]
pub(super) struct Raw(BTreeMap<&'static str, Given>);

impl Raw {
    pub(super) fn get(&self, path: &str) -> Option<&Given> {
        self.0.get(path)
    }

    pub(super) fn set(&mut self, path: &'static str, value: Value, source: Source) {
        self.0.insert(path, Given { value, source });
    }

    /// Take in a configuration file's text: every unknown key becomes a fault. Syntax errors are returned, all of them.
    pub(super) fn read_file(&mut self, text: &str, faults: &mut Vec<Fault>) -> Result<(), Vec<Fault>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            self.read_table(text, "", table.get_ref(), faults);
            return Ok(());
        }
        let fault = |error: &toml::de::Error| Fault {
            path: "configuration file".into(),
            source: error.span().map(|span| Source::File { line: line_of(text, span.start) }),
            message: error.message().to_owned(),
        };
        Err(errors.iter().map(fault).collect())
    }

    /// Take in a flag.
    pub(super) fn read_flag(&mut self, path: &str, flag: &'static str, value: Value, faults: &mut Vec<Fault>) {
        let source = Source::Flag(flag);
        match settings::row(path) {
            Some(row) if row.secret => {
                let env = row.env.unwrap_or_default();
                let message = format!("everybody on this machine can read command lines: set {env} in the environment");
                faults.push(Fault { path: path.into(), source: Some(source), message });
            }
            Some(row) => self.set(row.path, value, source),
            None => faults.push(Fault { path: path.into(), source: Some(source), message: unknown(path) }),
        }
    }

    fn read_table(&mut self, text: &str, prefix: &str, table: &DeTable<'_>, faults: &mut Vec<Fault>) {
        for (key, value) in table {
            let path = format!("{prefix}{}", key.get_ref());
            let source = Source::File { line: line_of(text, key.span().start) };
            let below = format!("{path}.");
            match (settings::row(&path), value.get_ref()) {
                (Some(row), _) if row.secret => faults.push(secret_in_file(row, source)),
                (Some(row), value) => self.set(row.path, Value::of(value), source),
                (None, DeValue::Table(inner)) if settings::is_section(&below) => {
                    self.read_table(text, &below, inner, faults);
                }
                (None, _) if settings::is_section(&below) => {
                    let message = format!("is a section: write [{path}], and its settings below");
                    faults.push(Fault { path, source: Some(source), message });
                }
                (None, _) => faults.push(Fault { source: Some(source), message: unknown(&path), path }),
            }
        }
    }
}

impl Value {
    /// A value as in the file, or else plain text.
    pub(super) fn parse(text: &str) -> Self {
        DeValue::parse(text).map_or_else(|_| Self::Text(text.into()), |value| Self::of(value.get_ref()))
    }

    fn of(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(n) => {
                i64::from_str_radix(n.as_str(), n.radix()).map_or(Self::Other("huge integer"), Self::Integer)
            }
            DeValue::Boolean(b) => Self::Switch(*b),
            DeValue::Array(items) => Self::List(items.iter().map(|item| Self::of(item.get_ref())).collect()),
            DeValue::Table(entries) => Self::Table(
                entries.iter().map(|(key, value)| (key.get_ref().to_string(), Self::of(value.get_ref()))).collect(),
            ),
            other => Self::Other(other.type_str()),
        }
    }
}

fn secret_in_file(row: &Row, source: Source) -> Fault {
    let env = row.env.unwrap_or_default();
    let message =
        format!("secrets do not belong into the configuration file: remove it and set {env} in the environment");
    Fault { path: row.path.into(), source: Some(source), message }
}

fn unknown(path: &str) -> String {
    match settings::nearest(path) {
        Some(known) => format!("no such setting; did you mean {known}?"),
        None => "no such setting; `potluck config` prints all there are".into(),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}
