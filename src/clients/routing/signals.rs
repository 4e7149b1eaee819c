//! What speaks for which category, each with its weight and the reason.

use std::collections::BTreeMap;

use aho_corasick::AhoCorasick;

use super::category::Category;
use super::features::Features;
use super::keywords::{CODE_SHAPES, CODE_TOOLS, MEDIUM, ROWS, STRONG, WEAK};

/// More than any words can weigh, and pictures more than length: only models that see can be asked about pictures.
const IMAGES: u32 = 100;
const LENGTH: u32 = 50;
/// Words alone weigh no more than this for one category.
const WORDS_MAX: u32 = 14;
/// Words beside what is asked (in the middle of a message, or in the system message) count a third, and up to this.
const ASIDE_MAX: u32 = 4;
/// How far the first and the last line of a message are taken for what is asked, in bytes.
const ASK_BYTES: usize = 240;
/// The shortest text whose language is guessed, in bytes.
const LANGUAGE_BYTES: usize = 24;
/// The longest, in bytes: more tells no more.
const LANGUAGE_MAX_BYTES: usize = 512;
/// Words named in an explanation.
const NAMED_MAX: usize = 4;

/// Something of a request that speaks for a category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The category it speaks for.
    pub category: Box<str>,
    /// How much.
    pub weight: u32,
    /// What was found, for people.
    pub explanation: String,
}

impl Signal {
    fn new(category: &str, weight: u32, explanation: impl Into<String>) -> Self {
        Self { category: category.into(), weight, explanation: explanation.into() }
    }
}

/// One word, and what it speaks for.
struct Keyword {
    category: Box<str>,
    weight: u32,
    text: Box<str>,
    /// Words that begin so count, too.
    is_stem: bool,
}

/// All words of all categories, found in one pass.
pub(super) struct Words {
    keywords: Vec<Keyword>,
    finder: AhoCorasick,
}

impl Words {
    /// The built-in words, and those of the operator.
    pub(super) fn new(categories: &[Category]) -> Self {
        let built_in = ROWS.iter().flat_map(|(category, weight, words)| {
            words.split('|').map(move |word| Keyword::new(category, *weight, word))
        });
        let own = categories
            .iter()
            .flat_map(|category| category.keywords.iter().map(|word| Keyword::new(&category.name, STRONG, word)));
        let keywords: Vec<Keyword> = built_in.chain(own).collect();
        let finder = AhoCorasick::new(keywords.iter().map(|keyword| &*keyword.text));
        Self { finder: finder.expect("the configuration bounds the words to far less than the finder holds"), keywords }
    }

    /// Every keyword of `text` (in lower case) by its place, without those that stand inside longer words.
    fn found<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (&'a Keyword, usize)> {
        self.finder.find_overlapping_iter(text).filter_map(move |found| {
            let keyword = self.keywords.get(found.pattern().as_usize())?;
            let before = text.get(..found.start())?.chars().next_back();
            let after = text.get(found.end()..)?.chars().next();
            let first = keyword.text.chars().next()?;
            let last = keyword.text.chars().next_back()?;
            let begins = !joins(before, first);
            let ends = keyword.is_stem || !joins(after, last);
            (begins && ends).then_some((keyword, found.start()))
        })
    }
}

impl Keyword {
    fn new(category: &str, weight: u32, word: &str) -> Self {
        let stem = word.strip_suffix('*');
        let text = stem.unwrap_or(word).to_lowercase().into();
        Self { category: category.into(), weight, text, is_stem: stem.is_some() }
    }
}

/// Whether a keyword's edge and the character beside it are of one word.
fn joins(beside: Option<char>, edge: char) -> bool {
    beside.is_some_and(|beside| beside.is_alphanumeric() && edge.is_alphanumeric() && !is_spaceless(edge))
}

/// Whether a script puts no spaces between words: Thai, Lao, Khmer, kana, Chinese.
const fn is_spaceless(c: char) -> bool {
    matches!(c, '\u{0e00}'..='\u{0eff}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}')
}

/// Every signal of a request, in a fixed order.
pub(super) fn read(features: &Features, words: &Words, long_context_tokens: u64) -> Vec<Signal> {
    let text = features.text.to_lowercase().replace('\u{2019}', "'");
    let mut signals = by_words(&text, &features.system.to_lowercase(), words);
    signals.extend(by_size(features, long_context_tokens));
    signals.extend(by_code(features, &text));
    signals.extend(by_shape(features, &text));
    signals.extend(by_languages(&features.text));
    signals
}

/// The words of one category.
#[derive(Default)]
struct Tally<'a> {
    asked: u32,
    aside: u32,
    words: Vec<&'a str>,
}

fn by_words(text: &str, system: &str, words: &Words) -> Vec<Signal> {
    let (head, tail) = ask(text);
    let mut tallies: BTreeMap<&str, Tally<'_>> = BTreeMap::new();
    let spoken = words.found(text).map(|(keyword, at)| (keyword, at < head || at >= tail));
    // What is asked counts once as such, wherever else the word stands.
    let (mut asked, aside): (Vec<_>, Vec<_>) = spoken.partition(|(_, is_asked)| *is_asked);
    asked.extend(aside);
    asked.extend(words.found(system).map(|(keyword, _)| (keyword, false)));
    for (keyword, is_asked) in asked {
        let tally = tallies.entry(&keyword.category).or_default();
        if tally.words.contains(&&*keyword.text) {
            continue;
        }
        tally.words.push(&keyword.text);
        if is_asked {
            tally.asked += keyword.weight;
        } else {
            tally.aside += keyword.weight.div_ceil(3);
        }
    }
    let signal = |(category, tally): (&str, Tally<'_>)| {
        let weight = (tally.asked + tally.aside.min(ASIDE_MAX)).min(WORDS_MAX);
        let named: Vec<String> = tally.words.iter().take(NAMED_MAX).map(|word| format!("\"{word}\"")).collect();
        let noun = if tally.words.len() == 1 { "the word" } else { "the words" };
        Signal::new(category, weight, format!("{noun} {}", named.join(", ")))
    };
    tallies.into_iter().map(signal).collect()
}

/// Where in a text the question is: before the first place returned, and from the second on. Its first and its last line.
fn ask(text: &str) -> (usize, usize) {
    let text = text.trim_end();
    let first = text.find('\n').unwrap_or(text.len()).min(ASK_BYTES);
    let last = text.rfind('\n').unwrap_or(0).max(text.len().saturating_sub(ASK_BYTES));
    (first, last)
}

fn by_size(features: &Features, long_context_tokens: u64) -> Vec<Signal> {
    let mut signals = Vec::new();
    if features.images > 0 {
        signals.push(Signal::new("vision", IMAGES, format!("{} picture(s)", features.images)));
    }
    let tokens = features.tokens();
    if tokens >= long_context_tokens {
        signals.push(Signal::new("long_context", LENGTH, format!("about {tokens} tokens of text")));
    }
    signals
}

fn by_code(features: &Features, text: &str) -> Vec<Signal> {
    let mut signals = Vec::new();
    if text.contains("```") {
        signals.push(Signal::new("coding", STRONG, "a code fence"));
    } else if features.earlier_code {
        signals.push(Signal::new("coding", WEAK, "a code fence earlier in the conversation"));
    }
    let shapes = CODE_SHAPES.iter().filter(|shape| text.contains(**shape)).count();
    match shapes {
        0 => {}
        1 => signals.push(Signal::new("coding", WEAK, "what looks like code")),
        _ => signals.push(Signal::new("coding", STRONG, "what looks like code")),
    }
    let works_on_code = |tool: &&String| CODE_TOOLS.iter().any(|part| tool.to_lowercase().contains(part));
    if let Some(tool) = features.tools.iter().find(works_on_code) {
        signals.push(Signal::new("coding", STRONG, format!("a tool called {tool}")));
    }
    signals
}

fn by_shape(features: &Features, text: &str) -> Vec<Signal> {
    let mut signals = Vec::new();
    if features.structured {
        signals.push(Signal::new("extraction", MEDIUM, "the answer must be JSON"));
    }
    if features.forced_tool {
        signals.push(Signal::new("extraction", STRONG, "one tool must be called"));
    }
    let (head, tail) = ask(text);
    let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty()).count();
    let is_short = head >= tail;
    if is_short && numbers >= 3 && text.contains('?') {
        signals.push(Signal::new("reasoning", MEDIUM, "a question with several numbers"));
    }
    signals
}

/// A quotation, or what stands behind a colon, in another language than the rest.
fn by_languages(text: &str) -> Vec<Signal> {
    let Some((mut asked, mut given)) = quoted(text).or_else(|| behind_colon(text)) else { return Vec::new() };
    for text in [&mut asked, &mut given] {
        text.truncate(text.floor_char_boundary(LANGUAGE_MAX_BYTES));
    }
    let scripts = (whatlang::detect_script(&asked), whatlang::detect_script(&given));
    if let (Some(asked), Some(given)) = scripts
        && asked != given
    {
        return vec![Signal::new("translation", MEDIUM, format!("{given} text in a {asked} request"))];
    }
    if asked.len() < LANGUAGE_BYTES || given.len() < LANGUAGE_BYTES {
        return Vec::new();
    }
    let language = |text: &str| whatlang::detect(text).filter(whatlang::Info::is_reliable).map(|info| info.lang());
    match (language(&asked), language(&given)) {
        (Some(asked), Some(given)) if asked != given => {
            let (asked, given) = (asked.eng_name(), given.eng_name());
            vec![Signal::new("translation", MEDIUM, format!("{given} text in a request in {asked}"))]
        }
        _ => Vec::new(),
    }
}

const QUOTES: [(char, char); 5] = [('"', '"'), ('«', '»'), ('“', '”'), ('„', '“'), ('「', '」')];

/// The text without its first quotation, and the quotation.
fn quoted(text: &str) -> Option<(String, String)> {
    QUOTES.iter().find_map(|(open, close)| {
        let (before, rest) = text.split_once(*open)?;
        let (inside, after) = rest.split_once(*close)?;
        Some((format!("{before}{after}"), inside.to_owned()))
    })
}

fn behind_colon(text: &str) -> Option<(String, String)> {
    let (before, behind) = text.split_once([':', '：'])?;
    Some((before.to_owned(), behind.to_owned()))
}
