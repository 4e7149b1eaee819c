//! The categories that requests are routed by: those built in, changed and added to.

use std::fmt::Write as _;

use super::{Describe, Kind, Sample};
use crate::clients::routing::{Category, Offer, built_in};
use crate::config::raw::{Given, Value};
use crate::money::Usd;

const CATEGORIES_MAX: usize = 64;
const MODELS_MAX: usize = 32;
const KEYWORDS_MAX: usize = 200;
const NAME_MAX_BYTES: usize = 40;
const MODEL_MAX_BYTES: usize = 128;
const KEYWORD_MAX_BYTES: usize = 64;
const DESCRIPTION_MAX_BYTES: usize = 300;

/// Tables by name, each with `models` and perhaps ceilings, a description and keywords.
pub(in crate::config) struct Categories;

impl Kind for Categories {
    type Checked = Vec<Category>;

    fn default(&self) -> Vec<Category> {
        built_in()
    }

    fn read(&self, given: &Given) -> Result<Vec<Category>, String> {
        let Value::Table(tables) = &given.value else {
            return Err("must be sections, as in [routing.categories.coding]".into());
        };
        let mut categories = built_in();
        let mut faults = Vec::new();
        for (name, table) in tables {
            let built_in = categories.iter().position(|category| *category.name == **name);
            match read_category(name, table, built_in.and_then(|at| categories.get(at))) {
                Ok(category) => match built_in.and_then(|at| categories.get_mut(at)) {
                    Some(place) => *place = category,
                    None => categories.push(category),
                },
                Err(wrong) => faults.extend(wrong.into_iter().map(|what| format!("{name}: {what}"))),
            }
        }
        if categories.len() > CATEGORIES_MAX {
            faults.push(format!("there may be {CATEGORIES_MAX} categories, not {}", categories.len()));
        }
        if faults.is_empty() { Ok(categories) } else { Err(faults.join("; ")) }
    }
}

/// One table, over what is built in under its name; or everything that is wrong with it.
fn read_category(name: &str, table: &Value, known: Option<&Category>) -> Result<Category, Vec<String>> {
    let Value::Table(entries) = table else { return Err(vec![format!("must be a section, not {}", table.kind())]) };
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
    let mut faults = Vec::new();
    if !(1..=NAME_MAX_BYTES).contains(&name.len()) || !name.bytes().all(plain) {
        faults.push(format!("a name has 1 to {NAME_MAX_BYTES} of the characters a-z, 0-9, _ and -"));
    }
    let find = |wanted: &str| entries.iter().find(|(key, _)| key == wanted).map(|(_, value)| value);
    let known_keys = ["description", "keywords", "models", "max_prompt_usd", "max_completion_usd"];
    for (key, _) in entries.iter().filter(|(key, _)| !known_keys.contains(&&**key)) {
        faults.push(format!("there is no {key} in a category, only {}", known_keys.join(", ")));
    }
    let mut category = known.cloned().unwrap_or_else(|| Category {
        name: name.into(),
        description: "".into(),
        keywords: Vec::new(),
        models: Vec::new(),
    });
    keep(find("description").map(description), &mut category.description, &mut faults);
    keep(find("keywords").map(keywords), &mut category.keywords, &mut faults);
    let ceilings = ["max_prompt_usd", "max_completion_usd"].map(|key| {
        let mut ceiling = None;
        keep(find(key).map(|value| dollars(key, value).map(Some)), &mut ceiling, &mut faults);
        ceiling
    });
    keep(find("models").map(models), &mut category.models, &mut faults);
    let [prompt, completion] = ceilings;
    for offer in &mut category.models {
        // New models have the ceilings written here; those built in keep their own where nothing is written.
        let is_new = find("models").is_some();
        offer.max_prompt = if is_new { offer.max_prompt.or(prompt) } else { prompt.or(offer.max_prompt) };
        offer.max_completion =
            if is_new { offer.max_completion.or(completion) } else { completion.or(offer.max_completion) };
    }
    if category.models.is_empty() && faults.is_empty() {
        faults.push("a category of your own needs models".into());
    }
    if faults.is_empty() { Ok(category) } else { Err(faults) }
}

/// Put a value that was written in its place, or what is wrong with it to the rest.
fn keep<T>(read: Option<Result<T, String>>, place: &mut T, faults: &mut Vec<String>) {
    match read {
        Some(Ok(value)) => *place = value,
        Some(Err(fault)) => faults.push(fault),
        None => {}
    }
}

fn description(value: &Value) -> Result<Box<str>, String> {
    match value {
        Value::Text(text) if text.len() <= DESCRIPTION_MAX_BYTES && !text.contains(char::is_control) => {
            Ok(text.as_str().into())
        }
        _ => Err(format!("description must be a text of up to {DESCRIPTION_MAX_BYTES} bytes on one line")),
    }
}

fn keywords(value: &Value) -> Result<Vec<Box<str>>, String> {
    let rule = || {
        format!(
            "keywords must be a list of up to {KEYWORDS_MAX} texts of 2 to {KEYWORD_MAX_BYTES} bytes, as in \"translat*\""
        )
    };
    let Value::List(items) = value else { return Err(rule()) };
    let word = |item: &Value| match item {
        Value::Text(text) => {
            let word = text.strip_suffix('*').unwrap_or(text);
            let fits = (2..=KEYWORD_MAX_BYTES).contains(&word.len()) && word.trim() == word && !word.contains('*');
            fits.then(|| text.as_str().into())
        }
        _ => None,
    };
    let words: Option<Vec<Box<str>>> = items.iter().map(word).collect();
    words.filter(|words| words.len() <= KEYWORDS_MAX).ok_or_else(rule)
}

fn models(value: &Value) -> Result<Vec<Offer>, String> {
    let rule = || format!("models must be a list of 1 to {MODELS_MAX} models, as in \"openai/gpt-4o-mini\"");
    let Value::List(items) = value else { return Err(rule()) };
    if !(1..=MODELS_MAX).contains(&items.len()) {
        return Err(rule());
    }
    items.iter().map(offer).collect()
}

fn offer(item: &Value) -> Result<Offer, String> {
    let wrong =
        || "a model must be its id, as in \"openai/gpt-4o-mini\", or { model = …, max_prompt_usd = … }".to_owned();
    let id = |text: &str| is_model(text).then(|| text.into()).ok_or_else(wrong);
    let entries = match item {
        Value::Text(text) => return Ok(Offer { model: id(text)?, max_prompt: None, max_completion: None }),
        Value::Table(entries) => entries,
        _ => return Err(wrong()),
    };
    let mut offer = Offer { model: "".into(), max_prompt: None, max_completion: None };
    for (key, value) in entries {
        match (key.as_str(), value) {
            ("model", Value::Text(text)) => offer.model = id(text)?,
            ("max_prompt_usd", value) => offer.max_prompt = Some(dollars(key, value)?),
            ("max_completion_usd", value) => offer.max_completion = Some(dollars(key, value)?),
            _ => return Err(wrong()),
        }
    }
    if offer.model.is_empty() { Err(wrong()) } else { Ok(offer) }
}

/// `author/slug`; no presets, which belong to a donor's account.
fn is_model(text: &str) -> bool {
    let graphic = text.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\@".contains(&b));
    graphic
        && text.len() <= MODEL_MAX_BYTES
        && text.split_once('/').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty())
}

fn dollars(key: &str, value: &Value) -> Result<Usd, String> {
    let amount = match value {
        Value::Text(text) => text.trim().parse().ok(),
        Value::Integer(dollars) => dollars.to_string().parse().ok(),
        _ => None,
    };
    let positive = amount.filter(|amount| *amount >= Usd::ZERO);
    positive.ok_or_else(|| format!("{key} must be dollars in quotes, as in \"2.50\", not {}", value.shown()))
}

impl Describe for Categories {
    fn describe(&self) -> String {
        format!("Up to {CATEGORIES_MAX} sections with up to {MODELS_MAX} models and {KEYWORDS_MAX} keywords each.")
    }

    fn sample(&self) -> Sample {
        let mut out = String::new();
        for category in built_in() {
            let names: Vec<String> = category.models.iter().map(|offer| format!("{:?}", offer.model)).collect();
            // Writing to a String cannot fail.
            write!(out, "\n# {}\n#[routing.categories.{}]\n", category.description, category.name).unwrap_or_default();
            let ceilings = category
                .models
                .first()
                .map(|offer| [("max_prompt_usd", offer.max_prompt), ("max_completion_usd", offer.max_completion)]);
            for (name, ceiling) in ceilings.into_iter().flatten() {
                if let Some(ceiling) = ceiling {
                    writeln!(out, "#{name} = \"{}\"", ceiling.to_decimal()).unwrap_or_default();
                }
            }
            writeln!(out, "#models = [{}]", names.join(", ")).unwrap_or_default();
        }
        Sample::Tables(out)
    }
}
