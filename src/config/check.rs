//! The second layer: from what was written to a checked [`Config`], or every fault there is.

use std::net::SocketAddr;

use super::fault::{Fault, Source};
use super::kinds::Kind;
use super::raw::Raw;
use super::settings::{Admin, Clients, General, Ledger, Log, Pool, Prices, Proxy, Routing, Store, Upstream};
use super::{ClientsMode, Config};

/// Reads settings one by one and collects what is wrong with them.
pub(super) struct Reader<'a> {
    raw: &'a Raw,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    /// The checked value of a setting; its default when it was not written, or is at fault.
    pub(super) fn take<K: Kind>(&mut self, path: &'static str, kind: &K) -> K::Checked {
        let Some(given) = self.raw.get(path) else { return kind.default() };
        kind.read(given).unwrap_or_else(|message| {
            self.fault(path, message);
            kind.default()
        })
    }

    fn fault(&mut self, path: &'static str, message: impl Into<String>) {
        let source = self.raw.get(path).map(|given| given.source.clone());
        self.faults.push(Fault { path: path.into(), source, message: message.into() });
    }
}

/// Judge everything that was written; `faults` holds what was wrong with the writing itself.
pub(super) fn check(raw: &Raw, faults: Vec<Fault>) -> Result<Config, Vec<Fault>> {
    let mut reader = Reader { raw, faults };
    let general = General::read(&mut reader);
    let mut config = Config {
        data_dir: general.data_dir,
        keys: general.keys,
        proxy: Proxy::read(&mut reader),
        admin: Admin::read(&mut reader),
        upstream: Upstream::read(&mut reader),
        pool: Pool::read(&mut reader),
        store: Store::read(&mut reader),
        ledger: Ledger::read(&mut reader),
        prices: Prices::read(&mut reader),
        clients: Clients::read(&mut reader),
        routing: Routing::read(&mut reader),
        log: Log::read(&mut reader),
    };
    if reader.raw.get("clients.mode").is_none() && !is_loopback(config.proxy.listen) {
        config.clients.mode = ClientsMode::Required;
    }
    config.store.url = config.store.url.below(&config.data_dir);
    check_exposure(&config, &mut reader);
    check_pairs(&config, &mut reader);
    if reader.faults.is_empty() {
        return Ok(config);
    }
    reader.faults.sort_by_key(|fault| match fault.source {
        Some(Source::File { line }) => line,
        _ => usize::MAX,
    });
    Err(reader.faults)
}

/// Whether only this machine can reach a listener.
pub(super) fn is_loopback(listen: SocketAddr) -> bool {
    listen.ip().to_canonical().is_loopback()
}

/// Who could reach what without being asked who they are.
fn check_exposure(config: &Config, reader: &mut Reader<'_>) {
    let listen = config.proxy.listen;
    let said_open = reader.raw.get("clients.mode").is_some() && config.clients.mode == ClientsMode::Open;
    if !is_loopback(listen) && said_open {
        reader.fault(
            "clients.mode",
            format!(
                "open lets everybody who can reach {listen} spend the donors' credit, so it is only for a loopback address: \
                 leave it out (or set it to required) and give out client keys, or set proxy.listen to 127.0.0.1:{}",
                listen.port()
            ),
        );
    }
    let admin = config.admin.listen;
    // A token that is at fault has its own message already.
    let has_token = reader.raw.get("admin.token").is_some() || reader.raw.get("admin.token_file").is_some();
    if !is_loopback(admin) && !has_token {
        reader.fault(
            "admin.token",
            format!(
                "other machines can reach {admin}, so the admin listener needs a token: set POTLUCK_ADMIN_TOKEN to the \
                 output of `openssl rand -hex 32`, or listen on 127.0.0.1:{}",
                admin.port()
            ),
        );
    }
}

/// Settings that only make sense together.
fn check_pairs(config: &Config, reader: &mut Reader<'_>) {
    let (proxy, pool, upstream) = (&config.proxy, &config.pool, &config.upstream);
    if proxy.listen == config.admin.listen && proxy.listen.port() != 0 {
        reader.fault("admin.listen", format!("is the same as proxy.listen ({}): choose another port", proxy.listen));
    }
    if proxy.body_max_bytes > proxy.body_budget_bytes {
        let budget = proxy.body_budget_bytes;
        reader
            .fault("proxy.body_max_bytes", format!("must not be more than proxy.body_budget_bytes, which is {budget}"));
    }
    if proxy.connections_per_address_max > proxy.connections_max {
        let max = proxy.connections_max;
        reader.fault(
            "proxy.connections_per_address_max",
            format!("must not be more than proxy.connections_max, which is {max}"),
        );
    }
    if pool.credit_recheck_first > pool.credit_recheck_max {
        let max = pool.credit_recheck_max.as_millis();
        reader.fault(
            "pool.credit_recheck_first_ms",
            format!("must not be more than pool.credit_recheck_max_ms, which is {max}"),
        );
    }
    if config.prices.refresh > config.prices.max_age {
        let max = config.prices.max_age.as_millis();
        reader.fault("prices.refresh_ms", format!("must not be more than prices.max_age_ms, which is {max}"));
    }
    if upstream.first_byte_timeout > upstream.total_timeout {
        let max = upstream.total_timeout.as_millis();
        reader.fault(
            "upstream.first_byte_timeout_ms",
            format!("must not be more than upstream.total_timeout_ms, which is {max}"),
        );
    }
}
