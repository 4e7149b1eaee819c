//! README.md tells the truth: its walk-through is run against the real binary and the simulator, and the settings,
//! metrics, error codes and files that it and its companions name are there.

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use potluck::upstream::Reason;
use serde_json::Value;

const README: &str = include_str!("../README.md");
const OPERATING: &str = include_str!("../docs/operating.md");
const SETTINGS: &str = include_str!("../conf/potluck.toml");
const REFUSALS: [&str; 2] =
    [include_str!("../src/upstream/refusal.rs"), include_str!("../src/upstream/refusal/client.rs")];
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Members whose values are as shown; of all others (times, ids, amounts, texts) only the name and the type are.
const AS_SHOWN: &str =
    "success code status why ready reason totalKeys healthy depleted entries verified key label field note";

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn potluck(words: &[&str], env: &[(&str, &str)]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_potluck"));
    let command = command.args(words).env_clear().envs(env.iter().copied()).stdout(Stdio::null()).stderr(Stdio::null());
    Running(command.spawn().expect("the binary starts"))
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").to_string()
}

/// Try until it is so, for 20 s, and say at the end why it is not.
fn until<T>(what: &str, mut so: impl FnMut() -> Result<T, String>) -> T {
    for _ in 1..200 {
        if let Ok(found) = so() {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    so().unwrap_or_else(|why| panic!("{what}: {why}"))
}

fn shell(script: &str) -> String {
    let output = Command::new("sh").args(["-c", script]).env("no_proxy", "*").output().expect("sh");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.is_empty(), "{script}: {complaint} (curl is needed; tests/run installs it)");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// The commands of a section's walk-through with the answers shown below them.
fn examples(section: &str) -> Vec<(&'static str, String)> {
    let walk = README.split("\n## ").find(|text| text.starts_with(section)).expect("a walk-through");
    let blocks = walk.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let mut examples: Vec<(&str, String)> = Vec::new();
    for line in blocks.flat_map(str::lines) {
        match (line.strip_prefix("$ "), examples.last_mut()) {
            (Some(command), _) => examples.push((command, String::new())),
            (None, Some((_, answer))) => *answer += line,
            (None, None) => panic!("an answer without a command: {line}"),
        }
    }
    examples
}

/// Whether the real answer is what is shown: JSON by its members and their types, other texts by their words.
fn compare(shown: &str, real: &str) -> Result<(), String> {
    let json = |text: &str| serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
    let letters = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
    let same = match (json(shown), json(real)) {
        (Some(shown), Some(real)) => return fits("", &shown, &real),
        (None, None) if shown.starts_with('"') => letters(shown) == letters(real),
        _ => shown == real,
    };
    if same { Ok(()) } else { Err(format!("shown {shown:?}, really {real:?}")) }
}

fn fits(name: &str, shown: &Value, real: &Value) -> Result<(), String> {
    let is_told = AS_SHOWN.split(' ').any(|told| told == name);
    match (shown, real) {
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            a.iter().zip(b.values()).try_for_each(|((name, a), b)| fits(name, a, b))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).try_for_each(|(a, b)| fits(name, a, b))
        }
        // Client keys are random, and so is what is shown of them.
        (Value::String(a), Value::String(b)) if [a, b].iter().all(|key| key.starts_with("ptl-…")) => Ok(()),
        (Value::String(_), Value::String(_)) | (Value::Number(_), Value::Number(_)) if !is_told => Ok(()),
        _ if shown == real && !shown.is_object() && !shown.is_array() => Ok(()),
        _ => Err(format!("{name} is shown as {shown}, and really {real}")),
    }
}

/// Run the walk-through of a section, where the admin listener is told at the end.
fn walk(section: &str, env: &[(&str, &str)], at_the_end: impl FnOnce(&str)) {
    let [proxy, admin, sim] = [(); 3].map(|()| free_address());
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data").display().to_string();
    let upstream = format!("http://{sim}/api/v1");
    let _simulator = potluck(&["simulate", "--listen", &sim], &[]);
    let listeners = ["--listen", &proxy, "--admin-listen", &admin];
    let _potluck = potluck(&[&["run", "--data-dir", &data, "--upstream", &upstream], &listeners[..]].concat(), env);
    for address in [&sim, &proxy, &admin] {
        until(address, || TcpStream::connect(address).map_err(|e| e.to_string()));
    }
    let mut variables = String::new();
    for (command, shown) in examples(section) {
        let defaults = [("127.0.0.1:8767", &proxy), ("127.0.0.1:8769", &admin), ("127.0.0.1:8780", &sim)];
        let here = defaults.iter().fold(command.to_owned(), |text, (default, here)| text.replace(default, here));
        if command.split('=').next().is_some_and(|name| name.bytes().all(|b| b.is_ascii_uppercase())) {
            variables += &match command.contains(" -d ") {
                // What changes something is done once.
                true => remembered(&variables, &here),
                false => format!("{here}\n"),
            };
            continue;
        }
        let ask = || compare(&shown, &shell(&format!("{variables}{here}")));
        // A call that only reads is made again until what happens by itself has happened; others are made once.
        match command.contains(" -d ") {
            true => ask().unwrap_or_else(|why| panic!("{command}: {why}")),
            false => until(command, ask),
        }
    }
    at_the_end(&admin);
}

#[test]
fn the_walk_through_gives_the_answers_that_are_shown() {
    walk("Walk-through", &[], metrics_are_all_named);
}

#[test]
fn a_community_gets_access_as_is_shown() {
    walk("Give your community access", &[("POTLUCK_CLIENTS", "required")], |_| {});
}

/// The variable that this line sets, with its value instead of the call that it came from.
fn remembered(variables: &str, line: &str) -> String {
    let name = line.split('=').next().unwrap_or_default();
    let value = shell(&format!("{variables}{line}\nprintf %s \"${name}\""));
    assert!(!value.is_empty() && !value.contains('\''), "{line} sets nothing");
    format!("{name}='{value}'\n")
}

fn metrics_are_all_named(admin: &str) {
    let words = README.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    // The walk-through gives no occasion for an alarm, and revokes its client, with which that one's series ends.
    let gone = ["potluck_alarms_total", "potluck_client_requests_total"];
    let served = |word: &&str| word.starts_with("potluck_") && !gone.contains(word);
    let named: BTreeSet<&str> = words.filter(served).collect();
    until("the metrics served are those of the README", || {
        let text = shell(&format!("curl -s http://{admin}/metrics"));
        let served: BTreeSet<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let apart: Vec<_> = named.symmetric_difference(&served).collect();
        if apart.is_empty() { Ok(()) } else { Err(format!("only named or only served: {apart:?}")) }
    });
}

/// Everything between single backticks, outside of code blocks.
fn inline_code(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.split("```").step_by(2).flat_map(|prose| prose.split('`').skip(1).step_by(2))
}

#[test]
fn settings_and_variables_of_the_readme_exist() {
    let mut section = "";
    let mut known = BTreeSet::new();
    for line in SETTINGS.lines() {
        section = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')).unwrap_or(section);
        let name = line.strip_prefix('#').and_then(|l| l.split_once(" = ")).map(|(name, _)| name);
        known.extend(name.map(|name| format!("{section}.{name}")));
    }
    let is_section = |name: &str| SETTINGS.contains(&format!("\n[{name}]\n"));
    let is_setting = |code: &&str| code.split_once('.').is_some_and(|(head, _)| is_section(head));
    let docs = [README, include_str!("../docs/donors.md"), include_str!("../docs/routing.md"), OPERATING];
    let named: BTreeSet<&str> = docs.into_iter().flat_map(inline_code).filter(is_setting).collect();
    assert!(named.len() > 10, "{named:?}");
    for name in named {
        assert!(known.contains(name) || SETTINGS.contains(&format!("({name})")), "no setting is called {name}");
    }
    let words = README.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
    for word in words.filter(|word| word.starts_with("POTLUCK_") || word.starts_with("OPENROUTER_")) {
        assert!(SETTINGS.contains(word), "no setting is taken from {word}");
    }
}

#[test]
fn error_codes_of_the_readme_exist() {
    let errors = README.split("\n## ").find(|section| section.starts_with("Errors")).expect("a section on errors");
    let codes: Vec<&str> = errors.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect();
    assert!(codes.len() > 20, "{codes:?}");
    for code in codes {
        let is_there = |source: &&str| source.contains(&format!("=> \"{code}\""));
        assert!(REFUSALS.iter().any(is_there), "no refusal has the code {code}");
    }
}

/// Every Rust file below this folder.
fn sources(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let read = |path: PathBuf| match path.is_dir() {
        true => sources(&path),
        false => std::fs::read_to_string(path).into_iter().collect(),
    };
    entries.flat_map(read).collect()
}

#[test]
fn every_alarm_is_explained() {
    let named = |text: &str| {
        let after = |part: &str| part.split('"').next().map(str::to_owned);
        text.split(".alarm(\"").skip(1).filter_map(after).collect::<Vec<_>>()
    };
    let sources = sources(&Path::new(ROOT).join("src"));
    let tests = ["edge_block"];
    let mut alarms: BTreeSet<String> = sources.iter().flat_map(|text| named(text)).collect();
    alarms.extend(Reason::ALL.into_iter().filter(|reason| reason.alarm()).map(|reason| reason.name().to_owned()));
    alarms.retain(|alarm| !tests.contains(&alarm.as_str()));
    assert!(alarms.len() > 8, "{alarms:?}");
    for alarm in alarms {
        assert!(OPERATING.contains(&format!("\n| `{alarm}` |")), "docs/operating.md does not explain {alarm}");
    }
    for metric in OPERATING.split(|c: char| !(c.is_ascii_lowercase() || c == '_')) {
        let is_metric = metric.starts_with("potluck_");
        assert!(!is_metric || README.contains(&format!("`{metric}`")), "no metric is called {metric}");
    }
}

#[test]
fn files_that_are_named_exist() {
    let architecture = include_str!("../ARCHITECTURE.md");
    let routing = include_str!("../docs/routing.md");
    let docs = [include_str!("../docs/donating.md"), include_str!("../docs/donors.md"), OPERATING, routing];
    for (folder, page) in [("", README), ("", architecture)].into_iter().chain(docs.map(|page| ("docs", page))) {
        let links = page.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for link in links.filter(|link| !link.is_empty() && !link.contains("://")) {
            assert!(Path::new(ROOT).join(folder).join(link).exists(), "{link} is linked and not there");
        }
        for code in inline_code(page) {
            let candidates = match code.split_once("::") {
                Some((kind @ ("it" | "process"), name)) => ["", ".rs"].map(|end| format!("tests/{kind}/{name}{end}")),
                None if code.ends_with(".rs") || (code.ends_with('/') && !code.contains(':')) => {
                    [code.to_owned(), format!("src/{code}")]
                }
                _ => continue,
            };
            assert!(candidates.iter().any(|path| Path::new(ROOT).join(path).exists()), "{code} is named and not there");
        }
    }
}
