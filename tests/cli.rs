//! The real binary from a terminal: what it prints, and what it exits with.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const KEY: &str = "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";

/// `potluck` with these words in an environment that holds nothing but `env`.
fn potluck(words: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_potluck"));
    command.args(words).env_clear().envs(env.iter().copied());
    command.output().expect("the binary starts")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn check_judges_file_environment_and_flags() {
    let folder = tempfile::tempdir().expect("folder");
    let file = |text: &str| {
        let path = folder.path().join("potluck.toml");
        fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let check = |words: &[&str], env: &[(&str, &str)], expected: i32, parts: &[&str]| {
        let output = potluck(words, env);
        assert_eq!(code(&output), Some(expected), "{words:?}: {}{}", out(&output), err(&output));
        let text = if expected == 0 { out(&output) } else { err(&output) };
        for part in parts {
            assert!(text.contains(part), "{words:?} should say {part:?}: {text}");
        }
    };
    check(&["check"], &[], 0, &["the configuration is good", "127.0.0.1:8767", "https://openrouter.ai/api/v1"]);
    check(&["check"], &[("OPENROUTER_KEYS", KEY)], 0, &["1 from the environment"]);
    check(&["check", "-c", &file("[proxy]\nlisten = \"127.0.0.1:9\"")], &[], 0, &["127.0.0.1:9 "]);
    check(&["check", "--listen", "127.0.0.1:7"], &[("POTLUCK_LISTEN", "127.0.0.1:8")], 0, &["127.0.0.1:7 "]);
    check(&["check", "--set", "proxy.threads=7"], &[], 0, &["(7 threads;"]);
    let public = ("POTLUCK_LISTEN", "0.0.0.0:8");
    check(&["check"], &[public], 0, &["0.0.0.0:8 ", "clients need keys"]);
    let open = ("POTLUCK_CLIENTS", "open");
    check(&["check"], &[public, open], 64, &["a fault:", "clients.mode (POTLUCK_CLIENTS)", "donors' credit"]);
    check(&["check"], &[open], 0, &["whoever reaches it"]);
    check(
        &["check", "-c", &file("nonsense = 1\n[proxy]\nthreads = 0")],
        &[("POTLUCK_ROTATION", "up")],
        64,
        &["3 faults:", "nonsense (line 1)", "proxy.threads (line 3)", "pool.rotation (POTLUCK_ROTATION)"],
    );
    check(&["check", "-c", "/nowhere/potluck.toml"], &[], 64, &["cannot read /nowhere/potluck.toml"]);
    check(&["check", "--set", "nonsense"], &[], 64, &["NAME=VALUE"]);
    check(&["nonsense"], &[], 64, &["Usage:"]);
}

#[test]
fn config_prints_the_file_in_conf() {
    let output = potluck(&["config"], &[]);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/potluck.toml");
    assert_eq!((code(&output), out(&output)), (Some(0), fs::read_to_string(file).expect("conf/potluck.toml")));
}

#[test]
fn help_is_an_answer_and_teaches() {
    let output = potluck(&["--help"], &[]);
    assert_eq!(code(&output), Some(0));
    for part in ["Examples:", "potluck config > potluck.toml", "potluck check -c"] {
        assert!(out(&output).contains(part), "{}", out(&output));
    }
    assert_eq!(code(&potluck(&["--version"], &[])), Some(0));
}

#[test]
fn no_secret_of_the_environment_is_printed() {
    let env = [
        ("OPENROUTER_KEYS", KEY),
        ("POTLUCK_ADMIN_TOKEN", "8d969eef6ecad3c29a3a629280e686cf"),
        ("POTLUCK_LISTEN", KEY),
    ];
    for words in [&["check"][..], &["config"], &["--help"], &["check", "--help"]] {
        let output = potluck(words, &env);
        let text = out(&output) + &err(&output);
        assert!(!text.contains("0011") && !text.contains("8d96"), "{words:?}: {text}");
    }
}
