//! The two ways a serving process starts: alone, or as the successor of one that runs.

use pingora::server::Server;

use super::stop::{self, Heard};
use super::{Potluck, RunOptions, Sockets, StartError, server, store_path, upgrade_socket};
use crate::clock::Clock;
use crate::config::Config;
use crate::origin::Origin;
use crate::store::{Claim, Store};

/// What Linux takes as the path of a Unix socket (`unix(7)`), without the closing zero.
const SOCKET_PATH_MAX_BYTES: usize = 107;

/// What a process needs to serve; its sockets, unless they are handed over by a predecessor, and what signals come from the
/// moment on when they can be seen.
type Started = (Server, Potluck, Option<Sockets>, Option<Heard>);

/// Start alone. Whatever is in the way is told now, and both sockets are taken at once.
pub(super) fn first(config: Config) -> Result<Started, StartError> {
    check_socket_path(&config)?;
    let potluck = Potluck::open(config)?;
    let heard = stop::listen().ok();
    let sockets = Sockets::take(&potluck.config)?;
    Ok((server(&potluck.config, RunOptions { upgrade: false }), potluck, Some(sockets), heard))
}

/// Pingora panics, in the middle of an upgrade, over a path that is too long for a socket.
fn check_socket_path(config: &Config) -> Result<(), StartError> {
    let path = upgrade_socket(config);
    match path.as_os_str().len() {
        bytes if bytes > SOCKET_PATH_MAX_BYTES => Err(StartError::DataDirTooLong(config.data_dir.clone())),
        _ => Ok(()),
    }
}

/// Take over from the potluck that works with the same store.
///
/// What could go wrong is tried before the predecessor gives its sockets away. Keys and their states are read after:
/// the predecessor changes no keys from then on.
pub(super) fn successor(config: Config) -> Result<Started, StartError> {
    check_socket_path(&config)?;
    let path = store_path(&config).to_owned();
    if !Claim::is_taken(&path)? {
        return Err(StartError::NobodyToSucceed(path.display().to_string()));
    }
    let (store, _) = Store::open(config.store_options(), &Clock::system())?;
    store.close()?;
    Origin::new(&config.upstream)?;
    let claim = Claim::succeed(&path)?;
    tracing::info!("ready to take over: send the running potluck SIGQUIT now");
    let server = server(&config, RunOptions { upgrade: true });
    let potluck = Potluck::open_claimed(config, Clock::system(), claim)?;
    Ok((server, potluck, None, None))
}
