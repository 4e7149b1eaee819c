//! No copy of the keys in memory leaves the process by way of a core dump or a debugger of the same user.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Turn core dumps off, for good, and close `/proc/<pid>/mem` and `environ` to other processes of this user.
pub(super) fn harden() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}
