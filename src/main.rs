//! The `potluck` command: parse, run, and the only place that prints an error and chooses an exit code.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use potluck::cli::{Cli, USAGE};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            // Help and version are answers, not faults; where they cannot be printed there is nobody to tell.
            drop(answer.print());
            return if answer.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("potluck: {}", with_causes(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
