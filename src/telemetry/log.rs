//! The log of the process, on standard error.

use std::backtrace::Backtrace;
use std::panic::PanicHookInfo;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::clock::Clock;
use crate::config::{LogFormat, LogLevel};

use super::line::Lines;

/// Functions named after a panic.
const FUNCTIONS_MAX: usize = 6;

/// Send this process's log lines to standard error: potluck's, and those of Pingora and other libraries that use the
/// `log` crate. Panics are logged by their place only, because their messages may quote data.
///
/// For the binary; somebody who embeds potluck has a log of their own, and calls nothing here.
///
/// # Errors
/// When the process has a log already.
pub fn init(format: LogFormat, level: LogLevel) -> Result<(), TryInitError> {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
    };
    // Pingora's info lines tell of its inner life; what an operator needs of it, potluck says itself.
    let filter = Targets::new().with_default(level).with_target("pingora", level.min(LevelFilter::WARN));
    let lines = Lines { format, clock: Clock::system() };
    let layer = tracing_subscriber::fmt::layer().event_format(lines).with_ansi(false).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(filter).with(layer).try_init()?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
    let through = own_functions(&Backtrace::force_capture().to_string());
    tracing::error!(place, thread, through, "a panic: a fault in the program; please report this line");
}

/// The innermost functions of this crate in a backtrace: the place of many a panic is in the standard library.
fn own_functions(backtrace: &str) -> String {
    let names = backtrace.lines().filter_map(|line| line.split_once(": ").map(|(_, name)| name));
    let own = names.filter(|name| name.contains("potluck::") && !name.contains("telemetry::log::log_panic"));
    own.take(FUNCTIONS_MAX).collect::<Vec<_>>().join(" < ")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const CHILD: &str = "POTLUCK_TEST_LOG_CHILD";
    const CANARY: &str = "canary-in-a-panic";

    /// Not a test of its own: what the child process below does.
    #[test]
    fn child() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        init(LogFormat::Text, LogLevel::Warn).expect("the first log");
        assert!(init(LogFormat::Text, LogLevel::Warn).is_err(), "there is one log");
        log::warn!(target: "pingora_core::server", "from the log crate\nand on");
        log::info!("too fine");
        let text = format!("{CANARY} é");
        let cut = text.len() - 1;
        std::thread::Builder::new()
            .name("panics".to_owned())
            .spawn(move || text.split_at(cut).0.len())
            .expect("a thread")
            .join()
            .expect_err("the thread panics");
    }

    #[test]
    fn lines_of_libraries_and_panics_arrive_without_data() {
        let output = Command::new(std::env::current_exe().expect("this test's path"))
            .args(["--exact", "telemetry::log::tests::child", "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .output()
            .expect("the child runs");
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{log}");
        assert!(log.contains(" WARN pingora_core::server: from the log crate\\nand on\n"), "{log}");
        assert!(!log.contains("too fine"), "{log}");
        assert!(log.contains("place=") && log.contains("log::tests::child") && log.contains("thread=panics"), "{log}");
        assert!(!log.contains(CANARY), "{log}");
    }
}
