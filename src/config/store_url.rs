//! `store.url`: where the books are kept.

use std::fmt;
use std::path::{Path, PathBuf};

/// A checked store address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// One SQLite file on this machine. In a checked `Config` the path is below `data_dir` unless it was absolute.
    Sqlite(PathBuf),
}

impl StoreUrl {
    /// Parse `sqlite://file` or `sqlite:///absolute/file`.
    ///
    /// # Errors
    /// What is wrong and how to write it right; never repeats the text, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Err("PostgreSQL arrives with a later release; use sqlite:// (as in sqlite://potluck.db)");
        }
        match text.strip_prefix("sqlite://") {
            Some(file) if is_file(file) => Ok(Self::Sqlite(PathBuf::from(file))),
            Some(_) => Err(
                "must name a file, without options (as in sqlite://potluck.db or sqlite:///var/lib/potluck/potluck.db)",
            ),
            None => Err("must begin with sqlite:// (as in sqlite://potluck.db)"),
        }
    }

    /// The file, relative ones below `data_dir`.
    pub(super) fn below(self, data_dir: &Path) -> Self {
        let Self::Sqlite(file) = self;
        Self::Sqlite(data_dir.join(file))
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Sqlite(file) = self;
        write!(f, "sqlite://{}", file.display())
    }
}

fn is_file(text: &str) -> bool {
    // `:memory:` and `file:` are SQLite's own spellings: a store that forgets, or options we have not checked.
    !text.is_empty() && !text.ends_with('/') && !text.contains(['?', '#', '\0', '%', ':'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let good =
            |text: &str, file: &str| assert_eq!(StoreUrl::parse(text), Ok(StoreUrl::Sqlite(file.into())), "{text}");
        good("sqlite://potluck.db", "potluck.db");
        good("sqlite:///var/lib/potluck.db", "/var/lib/potluck.db");
        let bad = |text: &str, part: &str| assert!(StoreUrl::parse(text).expect_err(text).contains(part), "{text}");
        bad("potluck.db", "sqlite://");
        bad("sqlite://", "name a file");
        bad("sqlite://dir/", "name a file");
        bad("sqlite://:memory:", "name a file");
        bad("sqlite://x.db?mode=ro", "without options");
        bad("postgres://u:p@h/db", "later release");
    }

    #[test]
    fn relative_files_are_below_the_data_directory() {
        let check = |text, shown| {
            assert_eq!(StoreUrl::parse(text).map(|u| u.below(Path::new("/d")).to_string()), Ok(String::from(shown)))
        };
        check("sqlite://a.db", "sqlite:///d/a.db");
        check("sqlite:///x/a.db", "sqlite:///x/a.db");
    }
}
