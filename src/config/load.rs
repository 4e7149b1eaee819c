//! Where settings are written: the configuration file, the environment, flags. Later ones win.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::Config;
use super::check;
use super::fault::{Fault, Source};
use super::raw::{Raw, Value};
use super::settings;

/// No configuration file is near this; a log or a disk image given by mistake is.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// What was said on the command line: settings by path, with the flag that said it.
#[derive(Clone, Debug, Default)]
pub struct Flags(Vec<Flag>);

#[derive(Clone, Debug)]
struct Flag {
    path: String,
    name: &'static str,
    value: String,
    /// Written as in the file (`["a", "b"]`), where that can be parsed; plain text otherwise.
    toml: bool,
}

impl Flags {
    /// Note that the flag `name` (as the user typed it, `--listen`) set the setting at `path` (`proxy.listen`).
    pub fn set(&mut self, path: &'static str, name: &'static str, value: impl Into<String>) {
        self.0.push(Flag { path: path.into(), name, value: value.into(), toml: false });
    }

    /// Note a flag that can set any setting, with its value as in the file; quotes around texts may be left out. A
    /// `path` that is no setting, or is a secret, becomes a fault of [`Config::from_parts`].
    pub fn set_any(&mut self, path: impl Into<String>, name: &'static str, value: impl Into<String>) {
        self.0.push(Flag { path: path.into(), name, value: value.into(), toml: true });
    }
}

impl Config {
    /// Settings from a configuration file's text, the environment (`env` is asked by name) and flags. With nothing
    /// written anywhere, these are the defaults. Reads `admin.token_file` where one is named.
    ///
    /// # Errors
    /// Every fault found, in the order of the file, each with its place.
    pub fn from_parts(
        file: Option<&str>,
        env: &dyn Fn(&str) -> Option<String>,
        flags: &Flags,
    ) -> Result<Self, Vec<Fault>> {
        let (mut raw, mut faults) = (Raw::default(), Vec::new());
        if let Some(text) = file {
            // What a file that cannot be parsed would have set is unknown, and so is what is wrong with the rest.
            raw.read_file(text, &mut faults)?;
        }
        for row in settings::rows() {
            if let Some((name, text)) = row.env.and_then(|name| Some((name, env(name)?))) {
                raw.set(row.path, Value::Text(text), Source::Environment(name));
            }
        }
        for Flag { path, name, value, toml } in &flags.0 {
            let value = if *toml { Value::parse(value) } else { Value::Text(value.clone()) };
            raw.read_flag(path, name, value, &mut faults);
        }
        read_token_file(&mut raw, &mut faults);
        check::check(&raw, faults)
    }

    /// Settings of this process: the configuration file, where one is named, its environment, and `flags`.
    ///
    /// # Errors
    /// As [`Config::from_parts`]; a file that cannot be read is a fault too.
    pub fn load(file: Option<&Path>, flags: &Flags) -> Result<Self, Vec<Fault>> {
        let text = file.map(|path| read_text(path).map_err(|why| vec![unreadable(path, &why)])).transpose()?;
        // What is not Unicode is kept visibly wrong, so that the setting's own check refuses it.
        let env = |name: &str| std::env::var_os(name).map(|text| text.to_string_lossy().into_owned());
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let misspelled: Vec<Fault> = names.filter_map(|name| misspelled(&name)).collect();
        match Self::from_parts(text.as_deref(), &env, flags) {
            Ok(config) if misspelled.is_empty() => Ok(config),
            Ok(_) => Err(misspelled),
            Err(faults) => Err(faults.into_iter().chain(misspelled).collect()),
        }
    }
}

/// What the names of all our variables but that of the keys begin with.
const PREFIX: &str = "POTLUCK_";
/// Letters for each of which one may be wrong, left out or too many.
const LETTERS_PER_SLIP: usize = 3;
const SLIPS_MAX: usize = 2;

/// A variable whose name is nearly that of a setting: whoever wrote it believes that something is set, such as who is let in.
/// Others are nobody's fault: Kubernetes sets `POTLUCK_SERVICE_HOST` and the like where a service has our name.
fn misspelled(name: &str) -> Option<Fault> {
    let ours = || settings::rows().filter_map(|row| row.env);
    let word = name.strip_prefix(PREFIX).filter(|_| ours().all(|known| known != name))?;
    let slips = (word.len() / LETTERS_PER_SLIP).min(SLIPS_MAX);
    let distance = |known: &str| Some(strsim::damerau_levenshtein(word, known.strip_prefix(PREFIX)?));
    let (distance, meant) = ours().filter_map(|known| Some((distance(known)?, known))).min()?;
    (distance <= slips).then(|| Fault {
        path: name.into(),
        source: None,
        message: format!("no setting has this variable: is {meant} meant?"),
    })
}

fn read_token_file(raw: &mut Raw, faults: &mut Vec<Fault>) {
    let Some(given) = raw.get("admin.token_file") else { return };
    let Value::Text(path) = &given.value else { return };
    if raw.get("admin.token").is_some() {
        let message = "POTLUCK_ADMIN_TOKEN is set as well: keep one of the two".into();
        faults.push(Fault { path: "admin.token_file".into(), source: Some(given.source.clone()), message });
        return;
    }
    match read_text(Path::new(path)) {
        Ok(text) => {
            let source = Source::SecretFile(path.clone());
            raw.set("admin.token", Value::Text(text), source);
        }
        Err(why) => {
            let source = Some(given.source.clone());
            faults.push(Fault {
                path: "admin.token_file".into(),
                source,
                message: format!("cannot read {path}: {why}"),
            });
        }
    }
}

fn unreadable(path: &Path, why: &io::Error) -> Fault {
    Fault { path: "configuration file".into(), source: None, message: format!("cannot read {}: {why}", path.display()) }
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than 1 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_a_slip_away_from_a_setting_is_a_fault() {
        let check = |name: &str, meant: Option<&str>| {
            let message = misspelled(name).map(|fault| fault.message);
            let expected = meant.map(|meant| format!("no setting has this variable: is {meant} meant?"));
            assert_eq!(message, expected, "{name}");
        };
        check("POTLUCK_CLIENT", Some("POTLUCK_CLIENTS"));
        check("POTLUCK_CLEINTS", Some("POTLUCK_CLIENTS"));
        check("POTLUCK_ADMIN_TOKENS", Some("POTLUCK_ADMIN_TOKEN"));
        check("POTLUCK_LOGS", Some("POTLUCK_LOG"));
        for name in ["POTLUCK_CLIENTS", "POTLUCK_LOG", "POTLUCK_LOG_FORMAT", "OPENROUTER_KEYS", "CLIENT", "POTLUCK_"] {
            check(name, None);
        }
        for name in ["POTLUCK_SERVICE_HOST", "POTLUCK_SERVICE_PORT", "POTLUCK_PORT", "POTLUCK_PORT_8767_TCP_ADDR"] {
            check(name, None);
        }
    }
}
