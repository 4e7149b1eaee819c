//! What came in: every request with every header, so that tests can say what went up.

use std::collections::VecDeque;

use serde::Serialize;

/// The number of answers to requests that are not written down.
pub const UNLISTED: u64 = u64::MAX;
/// Requests remembered.
const REMEMBERED: usize = 100_000;

/// One request as it was received.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Counts the requests from 0.
    pub number: u64,
    /// Counts the connections from 0.
    pub connection: u64,
    /// When its head was complete, in milliseconds since the epoch.
    pub at_ms: i64,
    /// `POST`
    pub method: String,
    /// As on the wire.
    pub target: String,
    /// In order, names in lower case; bytes that are no UTF-8 replaced.
    pub headers: Vec<(String, String)>,
    /// Length of the body.
    pub body_len: u64,
    /// SHA-256 of the body, in hexadecimal.
    pub body_sha256: String,
    /// Index of the key it showed, if that is one.
    pub key: Option<usize>,
    /// Status it was answered with; absent while it runs or if it was cut off before.
    pub status: Option<u16>,
}

impl Entry {
    /// All values of a header.
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// The last hundred thousand requests.
#[derive(Debug, Default)]
pub struct Journal {
    entries: VecDeque<Entry>,
    received: u64,
}

impl Journal {
    /// Write one down; its number.
    pub fn add(&mut self, mut entry: Entry) -> u64 {
        if self.entries.len() == REMEMBERED {
            self.entries.pop_front();
        }
        entry.number = self.received;
        self.received += 1;
        self.entries.push_back(entry);
        self.received - 1
    }

    /// Note how it was answered.
    pub fn answered(&mut self, number: u64, status: u16) {
        let first = self.entries.front().map_or(0, |entry| entry.number);
        let position = number.checked_sub(first).and_then(|n| usize::try_from(n).ok());
        if let Some(entry) = position.and_then(|position| self.entries.get_mut(position)) {
            entry.status = Some(status);
        }
    }

    /// What is remembered, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Requests received in all.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Forget the entries, not the count.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}
