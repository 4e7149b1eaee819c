//! What a process does for the keys in its memory and on its disk.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::support::{Ask, CHAT, MODEL, Place, Running, chat, simulator};

/// An ordinary user, whom root never is.
const NOBODY: u32 = 65_534;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|why| panic!("{}: {why}", path.display())).permissions().mode() & 0o7777
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_folder_and_all_in_it_are_the_owners_alone_and_hold_no_key_in_clear() {
    let (simulator, keys) = simulator(2).await;
    let place = Place::new(&simulator, "").keys(&keys);
    let running = place.start().await;
    assert_eq!(place.ask(&Ask::post(CHAT, chat(MODEL))).await.status, 200);
    let mut seen = Vec::new();
    let mut look = || {
        assert_eq!(mode(&place.data()), 0o700);
        for file in fs::read_dir(place.data()).expect("the data folder") {
            let path = file.expect("a file").path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            let bytes = fs::read(&path).expect("readable for its owner");
            for key in &keys {
                let secret = key.text.trim_start_matches("sk-or-v1-").as_bytes();
                let runs = secret.windows(8).filter(|run| memchr::memmem::find(&bytes, run).is_some());
                assert_eq!(runs.count(), 0, "{} holds a part of a key", path.display());
            }
            seen.push(path.file_name().expect("a name").to_string_lossy().into_owned());
        }
    };
    look();
    running.stop().await;
    look();
    for name in ["master.key", "potluck.db", "potluck.db-wal"] {
        assert!(seen.iter().any(|seen| seen == name), "{name} was looked at: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_key_that_others_can_read_is_refused() {
    let (simulator, keys) = simulator(1).await;
    let place = Place::new(&simulator, "").keys(&keys);
    place.start().await.stop().await;
    fs::set_permissions(place.data().join("master.key"), fs::Permissions::from_mode(0o644)).expect("set");
    let mut exposed = place.spawn(&[]);
    assert_eq!(exposed.end().await, 1);
    assert!(exposed.log().contains("chmod 600"), "{}", exposed.log());
}

/// Run as an ordinary user, whoever runs the tests: root may look into everything, which says nothing.
fn as_nobody(place: &Place) -> Command {
    let mut command = place.command(&["run", "-c", "potluck.toml"]);
    if !rustix::process::geteuid().is_root() {
        return command;
    }
    // Neither the folder nor the place the binary was built in is theirs to enter.
    let binary = place.folder().join("potluck");
    fs::copy(command.get_program(), &binary).expect("copied");
    chown(place.folder(), Some(NOBODY), Some(NOBODY)).expect("given away");
    let mut there = Command::new(binary);
    there.args(command.get_args()).env_clear().current_dir(place.folder());
    there.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command = there;
    command.uid(NOBODY).gid(NOBODY);
    command
}

/// Whether another process of the same user gets to see that.
fn seen_by_a_neighbour(path: &str) -> bool {
    // Opening is what is refused; address 0 of a process is never readable.
    let mut neighbour = Command::new("dd");
    neighbour.arg(format!("if={path}")).args(["of=/dev/null", "count=0"]).env_clear().env("PATH", "/bin:/usr/bin");
    if rustix::process::geteuid().is_root() {
        neighbour.uid(NOBODY).gid(NOBODY);
    }
    neighbour.output().expect("dd runs").status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_core_dumps_nor_neighbours_get_at_the_keys() {
    let (simulator, keys) = simulator(1).await;
    let place = Place::new(&simulator, "").keys(&keys);
    let mut running = Running::spawn(&place, as_nobody(&place));
    running.serving().await;
    let proc = format!("/proc/{}", running.pid());
    let limits = fs::read_to_string(format!("{proc}/limits")).expect("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a line");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    // The system gives the files of a process that must not be dumped to root.
    assert_eq!(fs::metadata(format!("{proc}/mem")).expect("there").uid(), 0);
    for file in ["mem", "environ", "maps"] {
        assert!(!seen_by_a_neighbour(&format!("{proc}/{file}")), "{file}");
    }

    // The same look at a process that does nothing about it, so that a look that never sees anything shows.
    let mut sleep = Command::new("sleep");
    sleep.arg("60");
    if rustix::process::geteuid().is_root() {
        sleep.uid(NOBODY).gid(NOBODY);
    }
    let mut sleeper = sleep.spawn().expect("sleep runs");
    let visible = seen_by_a_neighbour(&format!("/proc/{}/environ", sleeper.id()));
    sleeper.kill().expect("killed");
    sleeper.wait().expect("waited for");
    assert!(visible, "the look itself works");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_on_the_command_line() {
    let (simulator, keys) = simulator(1).await;
    let place = Place::new(&simulator, "").keys(&keys);
    let running = place.start().await;
    let words = fs::read(format!("/proc/{}/cmdline", running.pid())).expect("readable");
    assert!(memchr::memmem::find(&words, b"sk-or").is_none());
    running.stop().await;
}
