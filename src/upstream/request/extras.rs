//! What a request switches on besides the model: tools, plugins, searches, tiers. What is not known to be bounded is not.

use memchr::memmem;
use serde_json::value::RawValue;

use crate::money::{Unbounded, Usd, has_suffix};

use super::body::{Body, Members, list, string};
use super::spending::{Files, Search};

/// Tokens of the instructions that some providers add once tools are given (Anthropic: up to about 800).
const TOOLS_TOKENS: u64 = 1024;
/// Tokens of a tool that a request names by its kind only: the provider describes it to the model.
const NAMED_TOOL_TOKENS: u64 = 4096;
/// Tools that a request describes itself, and the client runs.
const DESCRIBED_TOOLS: [&str; 3] = ["function", "custom", "namespace"];
/// Tools that the provider describes and the client runs.
const NAMED_TOOLS: [&str; 4] = ["local_shell", "apply_patch", "computer", "computer_use_preview"];
/// The same in Anthropic's dialect, with a version behind.
const NAMED_TOOL_PREFIXES: [&str; 4] = ["bash_", "text_editor_", "computer_", "memory_"];
/// How deep namespaces of tools may be.
const DEPTH_MAX: usize = 16;

/// Plugins that cost nothing.
const FREE_PLUGINS: [&str; 5] =
    ["response-healing", "context-compression", "auto-router", "auto-beta-router", "pareto-router"];
/// No plugin has nearly as many settings.
const PLUGIN_FIELDS_MAX: usize = 64;
/// Search engines that are asked once, for a fee by request and result.
const ENGINES: [&str; 3] = ["exa", "parallel", "perplexity"];
/// The dearest engine in its dearest mode (Exa, deep reasoning): $0.015 with ten results, $0.001 for each further one.
const SEARCH_PICO: i64 = 15_000_000_000;
const RESULT_PICO: i64 = 1_000_000_000;
/// PDF engines that cost nothing but the tokens they make.
const FREE_FILE_ENGINES: [&str; 3] = ["native", "cloudflare-ai", "pdf-text"];

/// Tiers that cost no more than the ordinary one.
const ORDINARY_TIERS: [&str; 5] = ["auto", "default", "flex", "standard", "standard_only"];
/// What a provider's dearer tier is called behind its name.
const FAST_TIERS: [&str; 2] = ["fast", "priority"];

/// What is switched on.
pub(super) struct Extras {
    pub(super) search: Search,
    /// How files are read, if there are any.
    pub(super) files: Result<Files, Unbounded>,
    pub(super) fast: bool,
    pub(super) ordinary: bool,
    pub(super) media_out: bool,
}

impl Extras {
    pub(super) fn read(body: &Body<'_>, models: &[Box<str>]) -> Result<Self, Unbounded> {
        refuse_fields(body)?;
        let plugins = Plugins::read(body)?;
        let online = models.iter().any(|model| has_suffix(model, "online"));
        let search = match plugins.web {
            _ if body.web_search_options.is_some() => Search::Provider,
            Some(search) => search,
            None if online => Search::Either(Usd::from_pico(SEARCH_PICO)),
            None => Search::No,
        };
        let tier = string(body.service_tier);
        let odd = |given: Option<&RawValue>, word: Option<&str>, known: &[&str]| {
            given.is_some() && !word.is_some_and(|word| known.contains(&word))
        };
        let speed = string(body.speed);
        Ok(Self {
            search,
            files: plugins.files,
            fast: odd(body.service_tier, tier.as_deref(), &ORDINARY_TIERS)
                || odd(body.speed, speed.as_deref(), &["standard"])
                || body.provider.is_some_and(names_fast_tier),
            ordinary: tier.as_deref() == Some("default"),
            media_out: list(body.modalities).into_iter().any(|made| string(Some(made)).as_deref() != Some("text")),
        })
    }
}

/// Fields that make the upstream do more than answer.
fn refuse_fields(body: &Body<'_>) -> Result<(), Unbounded> {
    // Clearing old turns is free; compacting them is another call of the model.
    let compacts = |field: &RawValue| {
        let text = field.get().as_bytes();
        ["compact", "\\u00"].iter().any(|mark| memmem::find(text, mark.as_bytes()).is_some())
    };
    let fields = [
        ("mcp_servers", body.mcp_servers.is_some_and(|servers| !list(Some(servers)).is_empty())),
        ("search_parameters", body.search_parameters.is_some()),
        ("x_search_filter", body.x_search_filter.is_some()),
        ("context_management", body.context_management.is_some_and(compacts)),
    ];
    match fields.iter().find(|(_, set)| *set) {
        Some((field, _)) => Err(Unbounded::Field((*field).into())),
        None => Ok(()),
    }
}

/// Whether `provider` names a provider's dearer tier (`openai/fast`).
fn names_fast_tier(provider: &RawValue) -> bool {
    let Ok(Members(members)) = serde_json::from_str::<Members<'_>>(provider.get()) else { return false };
    let named = members.iter().filter(|(key, _)| matches!(&**key, "order" | "only"));
    named
        .flat_map(|(_, value)| list(Some(value)))
        .filter_map(|name| string(Some(name)))
        .any(|name| name.rsplit_once('/').is_some_and(|(_, tier)| FAST_TIERS.contains(&tier)))
}

/// What plugins do.
struct Plugins {
    web: Option<Search>,
    files: Result<Files, Unbounded>,
}

impl Plugins {
    fn read(body: &Body<'_>) -> Result<Self, Unbounded> {
        let mut plugins = Self { web: None, files: Ok(Files::ModelOrScanned) };
        for plugin in list(body.plugins) {
            let Ok(Members(members)) = serde_json::from_str::<Members<'_>>(plugin.get()) else {
                return Err(Unbounded::Field("plugins".into()));
            };
            let get = |name: &str| members.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
            let many = members.len() > PLUGIN_FIELDS_MAX;
            let twice =
                || members.iter().enumerate().any(|(i, (key, _))| members.iter().skip(i + 1).any(|m| m.0 == *key));
            let id = string(get("id")).unwrap_or_default();
            let unknown = || Unbounded::Plugin(Unbounded::word(&id));
            if many || twice() {
                return Err(unknown());
            }
            if get("enabled").is_some_and(|on| on.get() == "false") {
                continue;
            }
            match &*id {
                "web" if plugins.web.is_none() => plugins.web = Some(web(get).ok_or_else(unknown)?),
                "file-parser" => plugins.files = file_parser(get("pdf")).ok_or_else(unknown),
                id if FREE_PLUGINS.contains(&id) => {}
                _ => return Err(unknown()),
            }
        }
        Ok(plugins)
    }
}

/// How the web plugin searches; `None` when its fee cannot be known.
fn web<'a>(get: impl Fn(&str) -> Option<&'a RawValue>) -> Option<Search> {
    let get = |name: &str| get(name).filter(|value| value.get() != "null");
    if get("x_search").is_some() {
        return None;
    }
    let results: i64 = get("max_results").map_or(Some(0), |results| results.get().parse().ok())?;
    let fee = Usd::from_pico(results.checked_mul(RESULT_PICO)?.max(0).checked_add(SEARCH_PICO)?);
    match get("engine").map(|engine| string(Some(engine)).unwrap_or_default()).as_deref() {
        None => Some(Search::Either(fee)),
        Some("native") => Some(Search::Provider),
        Some(engine) if ENGINES.contains(&engine) => Some(Search::Engine(fee)),
        Some(_) => None,
    }
}

/// How the file parser reads files; `None` for a fee per page.
fn file_parser(pdf: Option<&RawValue>) -> Option<Files> {
    let Some(pdf) = pdf.filter(|pdf| pdf.get() != "null") else { return Some(Files::ModelOrScanned) };
    let Members(members) = serde_json::from_str::<Members<'_>>(pdf.get()).ok()?;
    let mut engines = members.iter().filter(|(key, _)| key == "engine");
    match (engines.next(), engines.next()) {
        (None, _) => Some(Files::ModelOrScanned),
        (Some((_, engine)), None) => {
            let engine = string(Some(engine))?;
            FREE_FILE_ENGINES.contains(&&*engine).then_some(Files::AsTokens)
        }
        _ => None,
    }
}

/// Tokens that tools add to what the body says of them.
pub(super) fn tools(body: &Body<'_>) -> Result<u64, Unbounded> {
    let tools = list(body.tools);
    let start = if tools.is_empty() { 0 } else { TOOLS_TOKENS };
    tools.into_iter().try_fold(start, |sum, tool| Ok(sum + tool_tokens(tool, 0)?))
}

fn tool_tokens(tool: &RawValue, depth: usize) -> Result<u64, Unbounded> {
    // Not an object: the upstream will say so.
    let Ok(Members(members)) = serde_json::from_str::<Members<'_>>(tool.get()) else { return Ok(0) };
    let mut tokens = 0;
    for (key, value) in members {
        match &*key {
            "type" => {
                let kind = string(Some(value)).unwrap_or_default();
                let named = NAMED_TOOLS.contains(&&*kind) || NAMED_TOOL_PREFIXES.iter().any(|p| kind.starts_with(p));
                if named {
                    tokens += NAMED_TOOL_TOKENS;
                } else if value.get() != "null" && !DESCRIBED_TOOLS.contains(&&*kind) {
                    return Err(Unbounded::Tool(Unbounded::word(&kind)));
                }
            }
            "tools" if depth < DEPTH_MAX => {
                for tool in list(Some(value)) {
                    tokens += tool_tokens(tool, depth + 1)?;
                }
            }
            "tools" => return Err(Unbounded::Field("tools".into())),
            _ => {}
        }
    }
    Ok(tokens)
}
