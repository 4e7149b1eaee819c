//! Settings as an operator writes them, and what is said about the wrong ones.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::kinds::Sample;
use super::settings::rows;
use super::*;

const KEY: &str = "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";
const TOKEN: &str = "8d969eef6ecad3c29a3a629280e686cf";

/// Layers as a test writes them: the file, `NAME=value` and `path=value` for flags.
fn load(file: &str, env: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Result<Config, Vec<Fault>> {
    let mut said = Flags::default();
    for (path, value) in flags {
        said.set(path, "--flag", *value);
    }
    let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| String::from(*value));
    Config::from_parts(Some(file), &env, &said)
}

fn faults(result: Result<Config, Vec<Fault>>) -> Vec<String> {
    result.expect_err("should be at fault").iter().map(ToString::to_string).collect()
}

fn shown(config: &Config) -> String {
    format!("{config:?}")
}

#[test]
fn the_documented_file_is_the_one_in_conf() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/potluck.toml");
    let file = fs::read_to_string(&path).unwrap_or_default();
    assert!(file == documented_file(), "make it anew: cargo run -- config > conf/potluck.toml");
}

#[test]
fn the_documented_file_holds_every_setting_and_only_defaults() {
    let file = documented_file();
    let defaults = shown(&Config::default());
    assert_eq!(shown(&load(&file, &[], &[]).expect("as it is")), defaults);

    let is_setting = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
    let written = |line: &str| match line.strip_prefix('#') {
        Some(setting) if is_setting(&line) && !line.ends_with("# for example") => setting.to_owned(),
        _ => line.to_owned(),
    };
    let all: String = file.lines().map(|line| written(line) + "\n").collect();
    assert_eq!(shown(&load(&all, &[], &[]).expect("with every # removed")), defaults);

    let named: BTreeSet<&str> = file
        .lines()
        .filter(is_setting)
        .filter_map(|line| line.trim_start_matches('#').split_once(" = ").map(|(name, _)| name))
        .collect();
    for row in rows() {
        let documented = match row.kind.sample() {
            Sample::Never => file.contains(&format!("({}).", row.path)),
            Sample::Default(_) | Sample::Example(_) => named.contains(row.name),
            Sample::Tables(_) => file.contains(&format!("\n#[{}.", row.path)),
        };
        assert!(documented, "{} is not in the documented file", row.path);
    }
    assert!(file.lines().all(|line| line.chars().count() <= 120 || is_setting(&line)), "lines are too long");
}

#[test]
fn every_file_in_conf_is_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    for entry in fs::read_dir(folder).expect("conf/") {
        let path = entry.expect("entry").path();
        let text = fs::read_to_string(&path).expect("readable");
        let result = load(&text, &[], &[]);
        assert!(result.is_ok(), "{}: {:?}", path.display(), result.map(|_| ()));
    }
}

#[test]
fn environment_wins_over_file_and_flag_over_environment() {
    let check = |path: &'static str, env: &str, values: [&str; 3], get: &dyn Fn(&Config) -> String| {
        let (section, name) = path.split_once('.').unwrap_or(("", path));
        let header = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
        let file = format!("{header}{name} = \"{}\"", values[0]);
        let get = |env: &[(&str, &str)], flags: &[(&'static str, &str)]| get(&load(&file, env, flags).expect(path));
        assert_eq!(get(&[], &[]), values[0], "{path} from the file");
        assert_eq!(get(&[(env, values[1])], &[]), values[1], "{path} from {env}");
        assert_eq!(get(&[(env, values[1])], &[(path, values[2])]), values[2], "{path} from a flag");
    };
    check("proxy.listen", "POTLUCK_LISTEN", ["127.0.0.1:1", "127.0.0.1:2", "[::1]:3"], &|c| c.proxy.listen.to_string());
    check("admin.listen", "POTLUCK_ADMIN_LISTEN", ["127.0.0.1:1", "127.0.0.1:2", "[::1]:3"], &|c| {
        c.admin.listen.to_string()
    });
    check("upstream.base_url", "POTLUCK_UPSTREAM", ["https://a", "https://b/x", "http://localhost:3"], &|c| {
        c.upstream.base_url.to_string()
    });
    check("store.url", "POTLUCK_STORE", ["sqlite:///a", "sqlite:///b", "sqlite:///c"], &|c| c.store.url.to_string());
    check("data_dir", "POTLUCK_DATA_DIR", ["/a", "/b", "/c"], &|c| c.data_dir.display().to_string());
    check("pool.rotation", "POTLUCK_ROTATION", ["weighted", "least_spent", "fill_first"], &|c| {
        serde_json::to_string(&c.pool.rotation).expect("a name").trim_matches('"').to_owned()
    });
    check("log.level", "POTLUCK_LOG", ["error", "warn", "info"], &|c| format!("{:?}", c.log.level).to_lowercase());
    check("log.format", "POTLUCK_LOG_FORMAT", ["text", "json", "text"], &|c| {
        format!("{:?}", c.log.format).to_lowercase()
    });
}

#[test]
fn each_fault_names_its_place_and_its_fix() {
    let check = |file: &str, expected: &[&str]| {
        let found = faults(load(file, &[], &[]));
        assert_eq!(found.len(), expected.len(), "{file}: {found:#?}");
        for (fault, parts) in found.iter().zip(expected) {
            assert!(parts.split('|').all(|part| fault.contains(part)), "{file}: {fault}");
        }
    };
    // The writing itself.
    check("x = \ny = \n", &["configuration file (line 1)", "configuration file (line 2)"]);
    check("[proxy]\n\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"", &["configuration file (line 4)|duplicate"]);
    check("[proxy]\nlisen = \"127.0.0.1:1\"", &["proxy.lisen (line 2): no such setting; did you mean proxy.listen?"]);
    check("[proxy]\nbase_url = \"x\"", &["proxy.base_url (line 2)|did you mean upstream.base_url?"]);
    check("rotation = \"weighted\"", &["rotation (line 1)|did you mean pool.rotation?"]);
    check("[wholly.unknown]\nx = 1", &["wholly (line 1)|no such setting; `potluck config`"]);
    check("proxy = 3", &["proxy (line 1)|is a section: write [proxy]"]);
    check("[[proxy]]\nlisten = \"127.0.0.1:1\"", &["proxy (line 1)|is a section"]);
    // Types and ranges.
    check("[proxy]\nlisten = 8767", &["proxy.listen (line 2)|text in quotes, not a number"]);
    check("[proxy]\nlisten = \"localhost:1\"", &["proxy.listen|as in 127.0.0.1:8767, not \"localhost:1\""]);
    check("[proxy]\nthreads = \"4\"", &["proxy.threads|whole number of threads from 1 to 1024, not \"4\""]);
    check("[proxy]\nthreads = 0", &["proxy.threads|from 1 to 1024"]);
    check("[proxy]\nthreads = 99999999999999999999", &["proxy.threads|huge integer"]);
    check("[proxy]\nhead_timeout_ms = -1", &["proxy.head_timeout_ms|from 100 to 600000 milliseconds, not -1"]);
    check("[proxy]\nhead_timeout_ms = 1.5", &["proxy.head_timeout_ms|whole number of milliseconds"]);
    check("[proxy]\nhead_timeout = 5", &["proxy.head_timeout (line 2)|did you mean proxy.head_timeout_ms?"]);
    check("[proxy]\nhttp2 = \"true\"", &["proxy.http2|true or false, not \"true\""]);
    check("[proxy]\nhttp2 = { on = true }", &["proxy.http2|true or false"]);
    check("[upstream]\nbase_url = \"http://openrouter.ai/api/v1\"", &["upstream.base_url|must be https://"]);
    check("[upstream]\nca_file = \"\"", &["upstream.ca_file|must not be empty"]);
    check("[pool]\nrotation = \"random\"", &["pool.rotation|round_robin, weighted, least_spent, fill_first"]);
    check("[store]\nurl = \"postgres://h/d\"", &["store.url|later release"]);
    check("[ledger]\nreconcile_schedule_ms = [5, 3]", &["ledger.reconcile_schedule_ms|growing"]);
    check("[ledger]\nreconcile_schedule_ms = []", &["ledger.reconcile_schedule_ms|1 to 32"]);
    check("[ledger]\ndefault_bound_usd = 0.5", &["ledger.default_bound_usd|dollars above 0 in quotes, as in \"0.50\""]);
    check("[ledger]\ndefault_bound_usd = \"0\"", &["ledger.default_bound_usd|above 0"]);
    check("[ledger]\ndefault_bound_usd = \"$1\"", &["ledger.default_bound_usd|not \"$1\""]);
    check("[prices]\nrefresh_ms = 90000\nmax_age_ms = 60000", &["prices.refresh_ms|prices.max_age_ms, which is 60000"]);
    check("[admin]\nhosts = [\"a:80\"]", &["admin.hosts|without a port"]);
    let names = "proxy.response_headers|each of them one of x-request-id, x-potluck-attempts, x-potluck-cost";
    for wrong in ["\"x-request-id\"", "[\"x-key\"]", "[7]", "[\"x-potluck-cost\", \"X-Potluck-Cost\"]"] {
        check(&format!("[proxy]\nresponse_headers = {wrong}"), &[names]);
    }
    check("[log]\nlevel = \"debug\"", &["log.level|one of error, warn, info"]);
    // Secrets have no place here, and a misplaced one is not repeated.
    check("keys = [\"x\"]", &["keys (line 1)|OPENROUTER_KEYS"]);
    check("[admin]\ntoken = \"x\"", &["admin.token (line 2)|POTLUCK_ADMIN_TOKEN"]);
    check("[store]\nmaster_key = \"x\"", &["store.master_key (line 2)|POTLUCK_MASTER_KEY"]);
    check(&format!("[pool]\nrotation = \"{KEY}\""), &["pool.rotation|not a text"]);
    // Settings that only make sense together.
    check("[proxy]\nbody_max_bytes = 2000\nbody_budget_bytes = 1999", &["proxy.body_max_bytes (line 2)|which is 1999"]);
    check("[proxy]\nconnections_max = 10", &["proxy.connections_per_address_max: must not be more"]);
    check("[pool]\ncredit_recheck_max_ms = 1000", &["pool.credit_recheck_first_ms|pool.credit_recheck_max_ms"]);
    check("[upstream]\ntotal_timeout_ms = 1000", &["upstream.first_byte_timeout_ms|upstream.total_timeout_ms"]);
    check("[admin]\nlisten = \"127.0.0.1:8767\"", &["admin.listen (line 2)|same as proxy.listen"]);
    // All of them at once, in the order of the file.
    check(
        "x = 1\n[proxy]\nthreads = 0\nlisen = 1\n[log]\nlevel = 1",
        &["x (", "proxy.threads", "proxy.lisen", "log.level"],
    );
}

#[test]
fn categories_are_changed_and_added() {
    let file = r#"
        [routing.categories.coding]
        max_prompt_usd = "3"
        models = ["a/one", { model = "a/two", max_prompt_usd = "0.5", max_completion_usd = 7 }]
        [routing.categories.vision]
        max_completion_usd = "9"
        [routing.categories.knitting]
        description = "Wool."
        keywords = ["yarn", "stitch*"]
        models = ["a/wool"]
    "#;
    let config = load(file, &[], &[]).expect("good");
    let find = |name: &str| config.routing.categories.iter().find(|c| &*c.name == name).expect("a category").clone();
    assert_eq!(config.routing.categories.len(), 10);
    let usd = |text: &str| text.parse::<crate::money::Usd>().ok();
    let offers = |name: &str| find(name).models.iter().map(|o| (o.max_prompt, o.max_completion)).collect::<Vec<_>>();
    assert_eq!(offers("coding"), [(usd("3"), None), (usd("0.5"), usd("7"))]);
    assert!(!find("coding").description.is_empty(), "what is not written stays");
    assert!(offers("vision").iter().all(|offer| *offer == (usd("5"), usd("9"))));
    assert_eq!(find("knitting").keywords.len(), 2);

    let wrong = |table: &str, parts: &[&str]| {
        let found = faults(load(&format!("[routing.categories.x]\n{table}"), &[], &[]));
        assert_eq!(found.len(), 1, "{table}: {found:?}");
        for part in parts.iter().chain(&["routing.categories (line 1)"]) {
            assert!(found[0].contains(part), "{table}: {found:?} lacks {part}");
        }
    };
    wrong("", &["x: a category of your own needs models"]);
    wrong("models = []", &["1 to 32 models"]);
    wrong("models = [\"gpt\"]", &["x: a model must be its id"]);
    wrong("models = [\"a/b@preset/c\"]", &["a model must be its id"]);
    wrong("models = [{ model = \"a/b\", price = 1 }]", &["a model must be its id"]);
    wrong("models = [\"a/b\"]\nmax_prompt_usd = \"-1\"", &["max_prompt_usd must be dollars"]);
    wrong("models = [\"a/b\"]\nkeywords = [\"*\"]", &["keywords must be a list"]);
    wrong(
        "model = \"a/b\"\nmax_completion_usd = 1.5",
        &["there is no model in a category", "max_completion_usd must be"],
    );
    let found = faults(load("[routing.categories]\n\"Not A Name\" = 3", &[], &[]));
    assert!(found[0].contains("must be a section"), "{found:?}");
    assert!(faults(load("[routing]\ncategories = 3", &[], &[]))[0].contains("must be sections"));
    assert!(faults(load("[routing]\nmodels = 3", &[], &[]))[0].contains("no such setting"));
}

#[test]
fn nobody_is_let_in_by_accident() {
    let check = |env: &[(&str, &str)], expected: &[&str]| {
        let found = faults(load("", env, &[]));
        assert_eq!(found.len(), expected.len(), "{env:?}: {found:#?}");
        for (fault, parts) in found.iter().zip(expected) {
            assert!(parts.split('|').all(|part| fault.contains(part)), "{env:?}: {fault}");
        }
    };
    let mode = |env: &[(&str, &str)]| load("", env, &[]).expect("no fault").clients.mode;
    assert_eq!(mode(&[]), ClientsMode::Open);
    assert_eq!(mode(&[("POTLUCK_CLIENTS", "required")]), ClientsMode::Required);
    for listen in ["0.0.0.0:8767", "[::]:8767", "192.168.1.2:8767"] {
        let listen = ("POTLUCK_LISTEN", listen);
        assert_eq!(mode(&[listen]), ClientsMode::Required, "{listen:?}");
        assert_eq!(mode(&[listen, ("POTLUCK_CLIENTS", "required")]), ClientsMode::Required);
        let open = "clients.mode (POTLUCK_CLIENTS)|spend the donors' credit|required|127.0.0.1:8767";
        check(&[listen, ("POTLUCK_CLIENTS", "open")], &[open]);
    }
    check(&[("POTLUCK_ADMIN_LISTEN", "0.0.0.0:8769")], &["admin.token|POTLUCK_ADMIN_TOKEN|openssl rand -hex 32"]);

    let token = |text: &str| load("", &[("POTLUCK_ADMIN_LISTEN", "0.0.0.0:8769"), ("POTLUCK_ADMIN_TOKEN", text)], &[]);
    assert!(token(TOKEN).expect("long enough").admin.token.expect("set").matches(TOKEN.as_bytes()));
    for (text, part) in [
        ("", "16 to 4096"),
        ("short-but-sweet", "16 to 4096"),
        ("changeme-changeme-changeme", "example value"),
        ("Your-Secret-Token-Here", "example value"),
        ("aaaaaaaaaaaaaaaaaaaaaaaa", "example value"),
        ("twenty characters and blanks", "without spaces"),
        ("\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}", "ASCII"),
    ] {
        let found = faults(token(text));
        assert!(found.len() == 1 && found[0].starts_with("admin.token (POTLUCK_ADMIN_TOKEN)"), "{text}: {found:?}");
        assert!(found[0].contains(part) && (text.is_empty() || !found[0].contains(text)), "{text}: {found:?}");
    }
}

#[test]
fn a_token_file_stands_in_for_the_environment() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("token");
    let file = format!("[admin]\ntoken_file = {:?}", path.display().to_string());

    assert!(faults(load(&file, &[], &[]))[0].starts_with("admin.token_file (line 2): cannot read"));
    fs::write(&path, format!("{TOKEN}\n")).expect("written");
    let config = load(&file, &[("POTLUCK_ADMIN_LISTEN", "0.0.0.0:8769")], &[]).expect("read");
    assert!(config.admin.token.expect("set").matches(TOKEN.as_bytes()));
    assert!(faults(load(&file, &[("POTLUCK_ADMIN_TOKEN", TOKEN)], &[]))[0].contains("keep one of the two"));
    fs::write(&path, "short").expect("written");
    assert!(faults(load(&file, &[], &[]))[0].starts_with("admin.token (file "));
}

#[test]
fn keys_come_from_the_environment_and_faults_name_their_position() {
    let count = |text: &str| load("", &[("OPENROUTER_KEYS", text)], &[]).map(|config| config.keys.len());
    assert_eq!(count("").ok(), Some(0));
    assert_eq!(count(&format!(" {KEY} ,\n{KEY}x, ")).ok(), Some(2));
    let found = faults(load("", &[("OPENROUTER_KEYS", &format!("{KEY},sk-wrong-hunter2,sk-or-v1-x"))], &[]));
    assert_eq!(
        found,
        [
            "keys (OPENROUTER_KEYS): key 2 of 3: an OpenRouter key begins with sk-or-v1-; key 3 of 3: the key must have 8 \
          to 128 characters behind sk-or-v1- (real ones have 64)"
        ]
    );
}

#[test]
fn flags_reach_every_setting_but_secrets() {
    let set = |path: &str, value: &str| {
        let mut flags = Flags::default();
        flags.set_any(path, "--set", value);
        Config::from_parts(None, &|_| None, &flags)
    };
    let good =
        |path, value, get: &dyn Fn(&Config) -> bool| assert!(set(path, value).is_ok_and(|c| get(&c)), "{path}={value}");
    good("proxy.threads", "3", &|c| c.proxy.threads == 3);
    good("pool.rotation", "weighted", &|c| c.pool.rotation == crate::pool::Rotation::Weighted);
    good("pool.credit_recheck", "false", &|c| !c.pool.credit_recheck);
    good("admin.hosts", "[\"Potluck.example\"]", &|c| c.admin.hosts == ["potluck.example"]);
    good("proxy.response_headers", "[]", &|c| c.proxy.response_headers.is_empty());
    good("proxy.response_headers", "[\"X-Potluck-Cost\"]", &|c| c.proxy.response_headers == [ResponseHeader::Cost]);
    good("ledger.reconcile_schedule_ms", "[1]", &|c| c.ledger.reconcile_schedule == [Duration::from_millis(1)]);
    assert!(faults(set("admin.token", TOKEN))[0].contains("command lines: set POTLUCK_ADMIN_TOKEN"));
    assert!(faults(set("keys", KEY))[0].contains("set OPENROUTER_KEYS"));
    assert!(faults(set("proxy.threat", "3"))[0].contains("(--set): no such setting"));
}

#[test]
fn no_secret_is_in_debug_output() {
    let env = [("OPENROUTER_KEYS", KEY), ("POTLUCK_ADMIN_TOKEN", TOKEN), ("POTLUCK_MASTER_KEY", TOKEN)];
    let text = shown(&load("", &env, &[]).expect("good"));
    assert!(!text.contains("0011") && !text.contains(TOKEN), "{text}");
}

proptest! {
    /// Whatever the file holds, the answer is a configuration or faults, never a panic.
    #[test]
    fn any_text_is_judged(text in ".{0,200}") {
        prop_assert!(load(&text, &[], &[]).map_or_else(|faults| !faults.is_empty(), |_| true));
    }

    /// Whatever a setting is given, the answer is a configuration or faults of settings that exist.
    #[test]
    fn any_value_is_judged(
        index in 0..rows().count(),
        value in "-?[0-9]{1,20}|\"[a-z0-9:/.]{0,20}\"|true|\\[[1-9]?\\]|1979-05-27|\\{\\}",
    ) {
        let path = rows().nth(index).map(|row| row.path).unwrap_or_default();
        if let Err(faults) = load(&format!("{path} = {value}"), &[], &[]) {
            let known = |fault: &Fault| rows().any(|row| row.path == fault.path);
            let syntax = |fault: &Fault| value.starts_with(['0', '-']) && fault.path == "configuration file";
            prop_assert!(faults.iter().all(|fault| known(fault) || syntax(fault)), "{path} = {value}: {faults:?}");
        }
    }
}
