//! Every setting there is: name, environment variable, default, range, unit and meaning, in this one place.
//!
//! The checked sections, the reader and the printed `conf/potluck.toml` are all made from this table.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::base_url::BaseUrl;
use super::check::Reader;
use super::kinds::{
    Address, Categories, Choice, Count, Describe, HostNames, KeyList, Millis, Money, Names, OptionalPath, Path,
    Schedule, SecretText, StoreAddress, Switch, Threads, UpstreamAddress,
};
use super::store_url::StoreUrl;
use super::{ClientsMode, LogFormat, LogLevel, ResponseHeader};
use crate::clients::routing::Category;
use crate::money::Usd;
use crate::pool::Rotation;
use crate::secret::{Credential, Secret};

/// One setting, as documentation and lookup need it.
pub(super) struct Row {
    /// `section.name`, as in faults and in the file.
    pub(super) path: &'static str,
    /// The last part of the path.
    pub(super) name: &'static str,
    pub(super) env: Option<&'static str>,
    /// Never taken from the configuration file.
    pub(super) secret: bool,
    pub(super) doc: &'static [&'static str],
    pub(super) kind: &'static dyn Describe,
}

/// One `[section]` of the file; the first has no header.
pub(super) struct Section {
    /// `proxy.`, or empty for the first.
    pub(super) prefix: &'static str,
    pub(super) doc: &'static [&'static str],
    pub(super) rows: &'static [Row],
}

macro_rules! settings {
    (@env) => { None };
    (@env $env:literal) => { Some($env) };
    (@secret) => { false };
    (@secret $env:literal) => { true };
    ($(
        $(#[doc = $section_doc:literal])*
        $prefix:literal $Section:ident {
            $(
                $(#[doc = $doc:literal])*
                $name:literal $(env $env:literal)? $(secret $secret:literal)? => $field:ident: $Checked:ty = $kind:expr;
            )*
        }
    )*) => {
        $(
            $(#[doc = $section_doc])*
            #[derive(Clone, Debug)]
            pub struct $Section {
                $( $(#[doc = $doc])* pub $field: $Checked, )*
            }

            impl $Section {
                pub(super) fn read(reader: &mut Reader<'_>) -> Self {
                    Self { $( $field: reader.take(concat!($prefix, $name), &$kind), )* }
                }
            }
        )*

        /// All sections in the order of the file.
        pub(super) static SECTIONS: &[Section] = &[$( Section {
            prefix: $prefix,
            doc: &[$($section_doc),*],
            rows: &[$( Row {
                path: concat!($prefix, $name),
                name: $name,
                env: settings!(@env $($env)? $($secret)?),
                secret: settings!(@secret $($secret)?),
                doc: &[$($doc),*],
                kind: &$kind,
            } ),*],
        } ),*];
    };
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

settings! {
    /// Settings of the whole program.
    "" General {
        /// Where the database and the master key live; made on first start, for the owner only.
        "data_dir" env "POTLUCK_DATA_DIR" => data_dir: PathBuf = Path { default: "./data" };
        /// OpenRouter keys that are in the pool from the start; more are donated through the admin API.
        "keys" secret "OPENROUTER_KEYS" => keys: Vec<Credential> = KeyList { entries_max: 100_000 };
    }

    /// The listener that clients use as their `base_url`.
    "proxy." Proxy {
        /// Where clients connect. Off loopback they need client keys (clients.mode); TLS is for a proxy in front to add.
        "listen" env "POTLUCK_LISTEN" => listen: SocketAddr = Address { default: loopback(8767) };
        /// Worker threads for client connections.
        "threads" => threads: usize = Threads { max: 1024 };
        /// Whether clients may speak HTTP/2 in clear text (prior knowledge).
        "http2" => http2: bool = Switch { default: false };
        /// The largest request body; larger ones are refused with 413.
        "body_max_bytes" => body_max_bytes: usize = Count::bytes(100 * MIB, KIB, 4 * GIB);
        /// What all request bodies in memory may take together; beyond it requests are refused with 503.
        "body_budget_bytes" => body_budget_bytes: usize = Count::bytes(GIB, KIB, 1024 * GIB);
        /// The largest request head (request line and headers together).
        "head_max_bytes" => head_max_bytes: usize = Count::bytes(32 * KIB, KIB, MIB);
        /// The most header fields in one request.
        "head_max_fields" => head_max_fields: usize = Count { default: 100, min: 8, max: 1000, unit: "fields" };
        /// How long a client may take for a whole request head.
        "head_timeout_ms" => head_timeout: Duration = Millis { default: 10 * SECOND, min: 100, max: 10 * MINUTE };
        /// How long a kept-alive connection may stay without a request.
        "idle_timeout_ms" => idle_timeout: Duration = Millis { default: MINUTE, min: 100, max: HOUR };
        /// How long a client may pause in the middle of a request body.
        "body_timeout_ms" => body_timeout: Duration = Millis { default: 30 * SECOND, min: 100, max: HOUR };
        /// The slowest average at which a request body may arrive; 0 is no limit.
        "body_min_rate_bytes_per_s" => body_min_rate_bytes_per_s: usize = Count { default: 1024, min: 0, max: GIB, unit: "bytes per second" };
        /// How long a client may leave an answer unread.
        "write_timeout_ms" => write_timeout: Duration = Millis { default: MINUTE, min: 100, max: HOUR };
        /// Connections at one time; more are closed at once.
        "connections_max" => connections_max: usize = Count { default: 10_000, min: 1, max: 1_000_000, unit: "connections" };
        /// Connections at one time from one client address.
        "connections_per_address_max" => connections_per_address_max: usize = Count { default: 1000, min: 1, max: 1_000_000, unit: "connections" };
        /// What an answer's head tells of its request: its id, as in ledger and log; how often a key was used for it; what it
        /// cost in dollars, exactly, where that is known before the head is written (refusals, and JSON that came in one
        /// piece; never streams).
        "response_headers" => response_headers: Vec<ResponseHeader> = Names {
            names: &[
                ("x-request-id", ResponseHeader::RequestId),
                ("x-potluck-attempts", ResponseHeader::Attempts),
                ("x-potluck-cost", ResponseHeader::Cost),
            ],
            default: &[ResponseHeader::RequestId, ResponseHeader::Attempts],
        };
        /// How long open streams may go on after SIGTERM or SIGQUIT.
        "drain_timeout_ms" => drain_timeout: Duration = Millis { default: 30 * SECOND, min: 0, max: DAY };
    }

    /// The listener for operators, donors and Prometheus.
    "admin." Admin {
        /// Where the admin API listens. Off loopback it needs a token.
        "listen" env "POTLUCK_ADMIN_LISTEN" => listen: SocketAddr = Address { default: loopback(8769) };
        /// What admin calls must present as `Authorization: Bearer …`.
        "token" secret "POTLUCK_ADMIN_TOKEN" => token: Option<Secret> = SecretText { min_bytes: 16 };
        /// A file that holds the token, instead of the environment.
        "token_file" => token_file: Option<PathBuf> = OptionalPath { example: "/run/secrets/potluck-admin-token" };
        /// The largest body of an admin call.
        "body_max_bytes" => body_max_bytes: usize = Count::bytes(64 * KIB, KIB, 16 * MIB);
        /// Names beside its own address under which the admin listener may be called (the `Host` header).
        "hosts" => hosts: Vec<String> = HostNames { entries_max: 100 };
    }

    /// The one place that pooled keys are sent to.
    "upstream." Upstream {
        /// OpenRouter, or something that speaks like it. `http://` only to this machine.
        "base_url" env "POTLUCK_UPSTREAM" => base_url: BaseUrl = UpstreamAddress { default: "https://openrouter.ai/api/v1" };
        /// Certificates (PEM) to trust instead of the system's.
        "ca_file" => ca_file: Option<PathBuf> = OptionalPath { example: "/etc/potluck/upstream-ca.pem" };
        /// Whether to speak HTTP/2 upstream: fewer connections, somewhat more work per request.
        "http2" => http2: bool = Switch { default: false };
        /// How long connecting, TLS included, may take.
        "connect_timeout_ms" => connect_timeout: Duration = Millis { default: 10 * SECOND, min: 100, max: 10 * MINUTE };
        /// How long the upstream may take from the end of the request to the first byte of its answer.
        "first_byte_timeout_ms" => first_byte_timeout: Duration = Millis { default: 5 * MINUTE, min: 100, max: DAY };
        /// How long the upstream may pause in the middle of an answer.
        "idle_timeout_ms" => idle_timeout: Duration = Millis { default: 5 * MINUTE, min: 100, max: DAY };
        /// How long one request may take in all.
        "total_timeout_ms" => total_timeout: Duration = Millis { default: 30 * MINUTE, min: SECOND, max: DAY };
        /// How long the head of an answer is still waited for when its client has left, to learn what will be billed.
        "hangup_grace_ms" => hangup_grace: Duration = Millis { default: 10 * SECOND, min: 0, max: 10 * MINUTE };
        /// How many attempts one request may make.
        "attempts_max" => attempts_max: usize = Count { default: 64, min: 1, max: 1000, unit: "attempts" };
        /// No further key is tried when this much time has passed since the first attempt.
        "attempts_budget_ms" => attempts_budget: Duration = Millis { default: 30 * SECOND, min: 0, max: HOUR };
        /// How long a request may wait, in all, for a key that is due back, before it is refused with 503.
        "wait_for_key_ms" => wait_for_key: Duration = Millis { default: 2 * SECOND, min: 0, max: 5 * MINUTE };
        /// How much of a refusal's body is read to find out who is to blame.
        "refusal_body_max_bytes" => refusal_body_max_bytes: usize = Count::bytes(64 * KIB, KIB, 16 * MIB);
        /// How often the upstream's addresses are looked up.
        "address_refresh_ms" => address_refresh: Duration = Millis { default: 30 * SECOND, min: SECOND, max: DAY };
        /// Idle upstream connections that are kept for the next request.
        "keepalive_connections_max" => keepalive_connections_max: usize = Count { default: 128, min: 0, max: 100_000, unit: "connections" };
        /// Memory for cached public answers (model lists and the like); 0 caches nothing.
        "cache_max_bytes" => cache_max_bytes: usize = Count::bytes(32 * MIB, 0, 64 * GIB);
    }

    /// Which key serves a request, and when a key comes back.
    "pool." Pool {
        /// How new conversations are spread over the keys that can serve them.
        "rotation" env "POTLUCK_ROTATION" => rotation: Rotation = Choice {
            names: &[
                ("round_robin", Rotation::RoundRobin),
                ("weighted", Rotation::Weighted),
                ("least_spent", Rotation::LeastSpent),
                ("fill_first", Rotation::FillFirst),
            ],
            default: Rotation::RoundRobin,
        };
        /// How long a degraded key rests.
        "degraded_rest_ms" => degraded_rest: Duration = Millis { default: 5 * MINUTE, min: 0, max: 7 * DAY };
        /// How long a key rests that an operator calls rate-limited, and the longest of the growing rests (they begin
        /// with 2 min) of an account for whose limit the upstream names no time.
        "rate_limited_rest_ms" => rate_limited_rest: Duration = Millis { default: 15 * MINUTE, min: 0, max: 7 * DAY };
        /// How often a key at its own limit is asked about when its reset time is not known.
        "key_cap_recheck_ms" => key_cap_recheck: Duration = Millis { default: HOUR, min: SECOND, max: 7 * DAY };
        /// Whether a depleted account that was topped up comes back on evidence; otherwise only an operator's or donor's word brings it back.
        "credit_recheck" => credit_recheck: bool = Switch { default: true };
        /// When a depleted account is first asked about.
        "credit_recheck_first_ms" => credit_recheck_first: Duration = Millis { default: 10 * MINUTE, min: SECOND, max: 7 * DAY };
        /// The longest time between two questions about a depleted account; the time doubles up to it.
        "credit_recheck_max_ms" => credit_recheck_max: Duration = Millis { default: 6 * HOUR, min: SECOND, max: 30 * DAY };
        /// Conversations whose key is remembered; 0 rotates every request.
        "affinity_max_conversations" => affinity_max_conversations: usize = Count { default: 100_000, min: 0, max: 100_000_000, unit: "conversations" };
        /// How long a silent conversation's key is remembered.
        "affinity_idle_ms" => affinity_idle: Duration = Millis { default: 10 * MINUTE, min: SECOND, max: 7 * DAY };
        /// Remembered cases of an account that cannot reach a model.
        "exclusions_max" => exclusions_max: usize = Count { default: 10_000, min: 0, max: 10_000_000, unit: "cases" };
        /// How long an account stays away from a model it cannot reach.
        "exclusion_rest_ms" => exclusion_rest: Duration = Millis { default: HOUR, min: SECOND, max: 30 * DAY };
        /// When a recovering key's trial request that brought no verdict counts as over.
        "trial_max_ms" => trial_max: Duration = Millis { default: MINUTE, min: SECOND, max: DAY };
        /// How often a well key is asked about, with free calls.
        "probe_interval_ms" => probe_interval: Duration = Millis { default: 6 * HOUR, min: MINUTE, max: 30 * DAY };
    }

    /// Where keys, key states and the books are kept.
    "store." Store {
        /// An SQLite file; a relative path is below `data_dir`.
        "url" env "POTLUCK_STORE" => url: StoreUrl = StoreAddress { default: "sqlite://potluck.db" };
        /// Seals the keys in the database. When not set, `master.key` in `data_dir` is used, and made on first start.
        "master_key" secret "POTLUCK_MASTER_KEY" => master_key: Option<Secret> = SecretText { min_bytes: 32 };
        /// Entries that may wait for the writer; when it is full, requests are refused with 503.
        "queue_max_entries" => queue_max_entries: usize = Count { default: 65_536, min: 64, max: 16_777_216, unit: "entries" };
        /// Disk space that is kept beside the database, so that requests under way are still booked when the disk is full;
        /// new ones are refused then. 0 keeps none.
        "reserve_bytes" => reserve: usize = Count::bytes(16 * MIB, 0, GIB);
    }

    /// The books.
    "ledger." Ledger {
        /// When an unknown cost is asked about again, counted from the request's end.
        "reconcile_schedule_ms" => reconcile_schedule: Vec<Duration> = Schedule {
            default: &[2 * SECOND, 10 * SECOND, MINUTE, 10 * MINUTE, HOUR],
            min: 1,
            max: 30 * DAY,
            entries_max: 32,
        };
        /// When an unknown cost that nobody can be asked about is settled by the change of the key's own usage, counted from
        /// the request's end. OpenRouter must have booked it and show it by then. What was broken off may go on without us, so
        /// it is given upstream.total_timeout_ms from its beginning as well.
        "usage_settle_after_ms" => usage_settle_after: Duration = Millis { default: 2 * MINUTE, min: 100, max: 30 * DAY };
        /// When the worst cost that was held is booked, as an estimate, for a cost that stayed unknown.
        "estimate_after_ms" => estimate_after: Duration = Millis { default: 7 * DAY, min: SECOND, max: 365 * DAY };
        /// How often all of the books are verified in the background, from the first line on; for the first time two minutes
        /// after the start. Those of the current day are verified at the start and hourly.
        "verify_all_every_ms" => verify_all_every: Duration = Millis { default: DAY, min: SECOND, max: 30 * DAY };
        /// Days after which single ledger lines are dropped and only daily sums by key and model are kept; 0 keeps all lines.
        "retention_days" => retention_days: usize = Count { default: 400, min: 0, max: 100_000, unit: "days" };
        /// Thousandths of a key's smallest cap that are leased in advance, so that requests that cost less than that wait for
        /// no disk. A crash strands as much until the key's own usage has shown what was spent.
        "lease_permille" => lease_permille: usize = Count { default: 10, min: 0, max: 1000, unit: "thousandths" };
        /// What a request counts as whose cost nobody can bound (an unknown price, tools that run upstream), where money
        /// is limited. Without it such requests are refused; with it a cap may be passed by what they cost beyond it.
        "default_bound_usd" => default_bound: Option<Usd> = Money { example: "0.50" };
        /// Whether max_tokens is lowered to what the richest key affords, where no key affords what a request asks for.
        /// Otherwise such requests are refused with that number.
        "clamp_max_tokens" => clamp_max_tokens: bool = Switch { default: false };
    }

    /// The upstream's price list: it bounds what a request may cost where a donor has limited a key.
    "prices." Prices {
        /// How often the list is fetched.
        "refresh_ms" => refresh: Duration = Millis { default: 10 * MINUTE, min: SECOND, max: DAY };
        /// How old a list may be; after that no price is known.
        "max_age_ms" => max_age: Duration = Millis { default: DAY, min: MINUTE, max: 30 * DAY };
    }

    /// Who may use the pool.
    "clients." Clients {
        /// `open`: whoever reaches the listener, so only on this machine (loopback). `required`: holders of a client key
        /// (`potluck clients add`) or of a token. When it is not set: `open` on a loopback proxy.listen, else `required`.
        "mode" env "POTLUCK_CLIENTS" => mode: ClientsMode = Choice {
            names: &[("open", ClientsMode::Open), ("required", ClientsMode::Required)],
            default: ClientsMode::Open,
        };
        /// How long a token from POST /auth/token is good; no longer than its client key.
        "token_life_ms" => token_life: Duration = Millis { default: DAY, min: SECOND, max: 30 * DAY };
        /// Users that one client may name in POST /auth/token, each with budgets and rates of its own.
        "users_max" => users_max: usize = Count { default: 10_000, min: 1, max: 1_000_000, unit: "users" };
        /// Requests that may wait for a key at one time. They are served in turn, client by client; one more is refused with 429.
        "queue_max" => queue_max: usize = Count { default: 10_000, min: 1, max: 1_000_000, unit: "requests" };
        /// Those of one client. All who come without a client key are one.
        "queue_per_client_max" => queue_per_client_max: usize = Count { default: 1000, min: 1, max: 1_000_000, unit: "requests" };
        /// How long a request may wait, in all, for its turn while keys are as busy as they may be, before it is refused with
        /// 503; 0 refuses it at once. For a key that rests it waits no longer than upstream.wait_for_key_ms.
        "queue_wait_ms" => queue_wait: Duration = Millis { default: 30 * SECOND, min: 0, max: HOUR };
    }

    /// Which model serves a request to /api/ai/completion that names none (docs/routing.md).
    "routing." Routing {
        /// How long a text must be to count as long context, in tokens of about four bytes.
        "long_context_tokens" => long_context_tokens: usize = Count { default: 60_000, min: 1000, max: 100_000_000, unit: "tokens" };
        /// Categories: those built in, shown here, which a section of the same name changes, and your own, which need models.
        /// Of the models, in order, the first one is taken that the upstream lists at no more than these dollars for a million
        /// input and output tokens, and that may be used. A model may have ceilings of its own:
        /// { model = "author/slug", max_prompt_usd = "2" }. Words in `keywords` speak for the category; "translat*" stands for
        /// all that begin so. Names in lower case.
        "categories" => categories: Vec<Category> = Categories;
    }

    /// The log, on standard error.
    "log." Log {
        /// The least that is logged. Finer levels do not exist: they would show keys.
        "level" env "POTLUCK_LOG" => level: LogLevel = Choice {
            names: &[("error", LogLevel::Error), ("warn", LogLevel::Warn), ("info", LogLevel::Info)],
            default: LogLevel::Info,
        };
        /// Lines for people, or one JSON object per line.
        "format" env "POTLUCK_LOG_FORMAT" => format: LogFormat = Choice {
            names: &[("text", LogFormat::Text), ("json", LogFormat::Json)],
            default: LogFormat::Text,
        };
    }
}

/// All settings.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    SECTIONS.iter().flat_map(|section| section.rows)
}

/// The setting of this path.
pub(super) fn row(path: &str) -> Option<&'static Row> {
    rows().find(|row| row.path == path)
}

/// Whether `prefix` (with its dot) is a section.
pub(super) fn is_section(prefix: &str) -> bool {
    SECTIONS.iter().any(|section| section.prefix == prefix)
}

/// The setting somebody who wrote `path` may have meant: a small slip of spelling, or the same name elsewhere.
pub(super) fn nearest(path: &str) -> Option<&'static str> {
    let name = path.rsplit('.').next().unwrap_or(path);
    let close = rows().map(|row| (slips(row.path, path), row.path)).min().filter(|(slips, _)| *slips <= 3);
    close.map(|(_, path)| path).or_else(|| rows().find(|row| row.name == name).map(|row| row.path))
}

/// How many letters must be put in, left out or replaced to make one text of the other.
fn slips(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
