//! Settings that are words: switches, choices, addresses, paths, names.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Describe, Kind, Sample};
use crate::config::base_url::BaseUrl;
use crate::config::fault::Source;
use crate::config::raw::{Given, Value};
use crate::config::store_url::StoreUrl;

/// On or off.
pub(in crate::config) struct Switch {
    pub(in crate::config) default: bool,
}

impl Kind for Switch {
    type Checked = bool;

    fn default(&self) -> bool {
        self.default
    }

    fn read(&self, given: &Given) -> Result<bool, String> {
        match (&given.value, &given.source) {
            (Value::Switch(on), _) => Ok(*on),
            (Value::Text(text), Source::Environment(_) | Source::Flag(_)) if text == "true" => Ok(true),
            (Value::Text(text), Source::Environment(_) | Source::Flag(_)) if text == "false" => Ok(false),
            (other, _) => Err(format!("must be true or false, not {}", other.shown())),
        }
    }
}

impl Describe for Switch {
    fn describe(&self) -> String {
        format!("true or false; default {}.", self.default)
    }

    fn sample(&self) -> Sample {
        Sample::Default(self.default.to_string())
    }
}

/// An address literal and port to listen on.
pub(in crate::config) struct Address {
    pub(in crate::config) default: SocketAddr,
}

impl Kind for Address {
    type Checked = SocketAddr;

    fn default(&self) -> SocketAddr {
        self.default
    }

    fn read(&self, given: &Given) -> Result<SocketAddr, String> {
        let text = given.text()?;
        let wrong = || format!("must be an address and a port, as in {}, not {}", self.default, given.value.shown());
        text.trim().parse().map_err(|_| wrong())
    }
}

impl Describe for Address {
    fn describe(&self) -> String {
        format!("Address and port; default {}.", self.default)
    }

    fn sample(&self) -> Sample {
        Sample::Default(quoted(&self.default.to_string()))
    }
}

/// One of a few names; the first is the default.
pub(in crate::config) struct Choice<T: 'static> {
    pub(in crate::config) names: &'static [(&'static str, T)],
    pub(in crate::config) default: T,
}

impl<T: Copy + PartialEq + Sync> Choice<T> {
    fn listed(&self) -> String {
        self.names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    fn default_name(&self) -> &'static str {
        self.names.iter().find(|(_, value)| *value == self.default).map_or("", |(name, _)| name)
    }
}

impl<T: Copy + PartialEq + Sync> Kind for Choice<T> {
    type Checked = T;

    fn default(&self) -> T {
        self.default
    }

    fn read(&self, given: &Given) -> Result<T, String> {
        let text = given.text()?;
        let found = self.names.iter().find(|(name, _)| *name == text.trim());
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| format!("must be one of {}, not {}", self.listed(), given.value.shown()))
    }
}

impl<T: Copy + PartialEq + Sync> Describe for Choice<T> {
    fn describe(&self) -> String {
        format!("One of {}; default {}.", self.listed(), self.default_name())
    }

    fn sample(&self) -> Sample {
        Sample::Default(quoted(self.default_name()))
    }
}

/// Any of a few names, or none of them.
pub(in crate::config) struct Names<T: 'static> {
    pub(in crate::config) names: &'static [(&'static str, T)],
    pub(in crate::config) default: &'static [T],
}

impl<T: Copy + PartialEq + Sync> Names<T> {
    fn listed(&self) -> String {
        self.names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    fn default_names(&self) -> Vec<&'static str> {
        self.names.iter().filter(|(_, value)| self.default.contains(value)).map(|(name, _)| *name).collect()
    }
}

impl<T: Copy + PartialEq + Sync> Kind for Names<T> {
    type Checked = Vec<T>;

    fn default(&self) -> Vec<T> {
        self.default.to_vec()
    }

    fn read(&self, given: &Given) -> Result<Vec<T>, String> {
        let rule = || format!("must be a list of names, each of them one of {}", self.listed());
        let Value::List(items) = &given.value else { return Err(rule()) };
        let value = |item: &Value| {
            let Value::Text(text) = item else { return None };
            self.names.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
        };
        let values: Option<Vec<T>> = items.iter().map(value).collect();
        let is_once = |values: &Vec<T>| (1..values.len()).all(|at| !values[..at].contains(&values[at]));
        values.filter(is_once).ok_or_else(rule)
    }
}

impl<T: Copy + PartialEq + Sync> Describe for Names<T> {
    fn describe(&self) -> String {
        format!("Any of {}, or none; default {}.", self.listed(), self.default_names().join(", "))
    }

    fn sample(&self) -> Sample {
        let names: Vec<String> = self.default_names().into_iter().map(quoted).collect();
        Sample::Default(format!("[{}]", names.join(", ")))
    }
}

/// A directory or file that has a default.
pub(in crate::config) struct Path {
    pub(in crate::config) default: &'static str,
}

impl Kind for Path {
    type Checked = PathBuf;

    fn default(&self) -> PathBuf {
        PathBuf::from(self.default)
    }

    fn read(&self, given: &Given) -> Result<PathBuf, String> {
        path(given)
    }
}

impl Describe for Path {
    fn describe(&self) -> String {
        format!("Path; default {}.", self.default)
    }

    fn sample(&self) -> Sample {
        Sample::Default(quoted(self.default))
    }
}

/// A file that need not be given.
pub(in crate::config) struct OptionalPath {
    pub(in crate::config) example: &'static str,
}

impl Kind for OptionalPath {
    type Checked = Option<PathBuf>;

    fn default(&self) -> Option<PathBuf> {
        None
    }

    fn read(&self, given: &Given) -> Result<Option<PathBuf>, String> {
        path(given).map(Some)
    }
}

impl Describe for OptionalPath {
    fn describe(&self) -> String {
        "Path; default none.".into()
    }

    fn sample(&self) -> Sample {
        Sample::Example(quoted(self.example))
    }
}

/// The upstream's address.
pub(in crate::config) struct UpstreamAddress {
    pub(in crate::config) default: &'static str,
}

impl Kind for UpstreamAddress {
    type Checked = BaseUrl;

    fn default(&self) -> BaseUrl {
        BaseUrl::parse(self.default).expect("the default is a constant that a test parses")
    }

    fn read(&self, given: &Given) -> Result<BaseUrl, String> {
        BaseUrl::parse(given.text()?.trim()).map_err(str::to_owned)
    }
}

impl Describe for UpstreamAddress {
    fn describe(&self) -> String {
        format!("URL; default {}.", self.default)
    }

    fn sample(&self) -> Sample {
        Sample::Default(quoted(self.default))
    }
}

/// Where the books are kept.
pub(in crate::config) struct StoreAddress {
    pub(in crate::config) default: &'static str,
}

impl Kind for StoreAddress {
    type Checked = StoreUrl;

    fn default(&self) -> StoreUrl {
        StoreUrl::parse(self.default).expect("the default is a constant that a test parses")
    }

    fn read(&self, given: &Given) -> Result<StoreUrl, String> {
        StoreUrl::parse(given.text()?.trim()).map_err(str::to_owned)
    }
}

impl Describe for StoreAddress {
    fn describe(&self) -> String {
        format!("URL; default {}.", self.default)
    }

    fn sample(&self) -> Sample {
        Sample::Default(quoted(self.default))
    }
}

/// Host names, none by default.
pub(in crate::config) struct HostNames {
    pub(in crate::config) entries_max: usize,
}

impl Kind for HostNames {
    type Checked = Vec<String>;

    fn default(&self) -> Vec<String> {
        Vec::new()
    }

    fn read(&self, given: &Given) -> Result<Vec<String>, String> {
        let rule = || format!("must be a list of up to {} host names without a port", self.entries_max);
        let Value::List(items) = &given.value else { return Err(rule()) };
        let names: Option<Vec<String>> = items
            .iter()
            .map(|item| match item {
                Value::Text(name) if is_host_name(name) => Some(name.to_ascii_lowercase()),
                _ => None,
            })
            .collect();
        names.filter(|names| names.len() <= self.entries_max).ok_or_else(rule)
    }
}

impl Describe for HostNames {
    fn describe(&self) -> String {
        format!("Up to {} host names without a port; default none.", self.entries_max)
    }

    fn sample(&self) -> Sample {
        Sample::Default("[]".into())
    }
}

fn path(given: &Given) -> Result<PathBuf, String> {
    match given.text()? {
        "" => Err("must not be empty: name a path, or leave the setting out".into()),
        text if text.contains('\0') => Err("must be a path".into()),
        text => Ok(PathBuf::from(text)),
    }
}

fn is_host_name(name: &str) -> bool {
    (1..=253).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
