//! The models on offer. Prices are odd on purpose: round ones hide rounding faults.

use super::amount::Pico;

/// What a model makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modality {
    /// Text in, text out.
    Text,
    /// Vectors.
    Embedding,
    /// An order of documents.
    Rerank,
    /// Pictures.
    Image,
    /// Speech to text.
    Transcription,
    /// Text to speech.
    Speech,
    /// Clips, made by asynchronous jobs.
    Video,
    /// A choice among labels.
    Decision,
}

impl Modality {
    /// The word in `architecture.output_modalities`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Embedding => "embeddings",
            Self::Rerank => "rerank",
            Self::Image => "image",
            Self::Transcription => "transcription",
            Self::Speech => "speech",
            Self::Video => "video",
            Self::Decision => "decision",
        }
    }
}

/// One model, its price and the habits of the provider behind it.
#[derive(Clone, Debug)]
pub struct Model {
    /// `author/slug`, with `:free` where it is.
    pub id: String,
    /// The provider that answers.
    pub provider: &'static str,
    /// What it makes.
    pub modality: Modality,
    /// Pico-dollars per prompt token.
    pub prompt: Pico,
    /// Pico-dollars per output token.
    pub completion: Pico,
    /// Pico-dollars per request, whatever its size.
    pub request: Pico,
    /// Pico-dollars per other unit: image, millisecond of audio, character of speech, second of video, search.
    pub unit: Pico,
    /// Tokens the model can hold.
    pub context: u64,
    /// Output tokens a request without `max_tokens` is taken to ask for.
    pub default_max: u64,
    /// Whether hanging up ends the work and the bill.
    pub stops_on_cancel: bool,
    /// Whether the provider trains on prompts; donors may refuse those.
    pub trains: bool,
    /// Whether only accounts with the author's own key may use it.
    pub needs_own_key: bool,
    /// What else is in its price.
    pub fine_print: FinePrint,
}

/// Prices beyond the usual ones. They are listed; only greedy plays charge them.
#[derive(Clone, Copy, Debug, Default)]
pub struct FinePrint {
    /// Pico-dollars per prompt token read from a cache.
    pub cache_read: Option<Pico>,
    /// Pico-dollars per prompt token written to a cache for five minutes.
    pub cache_write: Option<Pico>,
    /// Pico-dollars per prompt token written to a cache for an hour.
    pub cache_write_1h: Option<Pico>,
    /// Pico-dollars per picture in the prompt.
    pub picture: Option<Pico>,
    /// Pico-dollars per prompt token of sound.
    pub audio: Option<Pico>,
    /// For prompts of more tokens than that: pico-dollars per prompt and output token.
    pub long: Option<(u64, Pico, Pico)>,
    /// Another provider, and its pico-dollars per prompt and output token.
    pub other: Option<(&'static str, Pico, Pico)>,
}

impl Model {
    /// The part of the id before the slash.
    pub fn author(&self) -> &str {
        self.id.split('/').next().unwrap_or_default()
    }

    /// Whether it costs nothing and counts against the free tier.
    pub fn is_free(&self) -> bool {
        self.id.ends_with(":free")
    }
}

/// id, provider, modality, prompt, completion, request, unit, context, default max, stops, trains, needs own key.
type Row = (&'static str, &'static str, Modality, i128, i128, i128, i128, u64, u64, bool, bool, bool);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("openai/gpt-4o-mini", "OpenAI", Modality::Text, 150_000, 600_000, 0, 0, 128_000, 16_384, true, false, false),
    ("anthropic/claude-sonnet-4.5", "Anthropic", Modality::Text, 3_000_000, 15_000_000, 0, 0, 200_000, 64_000, true, false, false),
    ("google/gemini-2.5-flash", "Google AI Studio", Modality::Text, 300_000, 2_500_000, 0, 0, 1_048_576, 65_536, false, false, false),
    ("meta-llama/llama-3.3-70b-instruct", "DeepInfra", Modality::Text, 127_037, 390_001, 0, 0, 131_072, 16_384, true, false, false),
    ("mistralai/mistral-small-3.2-24b-instruct", "Mistral", Modality::Text, 49_999, 100_003, 0, 0, 128_000, 16_384, false, false, false),
    ("perplexity/sonar", "Perplexity", Modality::Text, 1_000_003, 1_000_033, 5_000_000_011, 0, 127_072, 8_192, false, false, false),
    ("meta-llama/llama-3.3-70b-instruct:free", "Chutes", Modality::Text, 0, 0, 0, 0, 65_536, 8_192, true, true, false),
    ("google/gemma-3-27b-it:free", "Google AI Studio", Modality::Text, 0, 0, 0, 0, 96_000, 8_192, false, false, false),
    ("openai/o3-pro", "OpenAI", Modality::Text, 20_000_000, 80_000_000, 0, 0, 200_000, 100_000, true, false, true),
    ("openai/text-embedding-3-small", "OpenAI", Modality::Embedding, 20_011, 0, 0, 0, 8_192, 0, true, false, false),
    ("cohere/rerank-v3.5", "Cohere", Modality::Rerank, 0, 0, 0, 2_000_000_003, 4_096, 0, true, false, false),
    ("google/gemini-2.5-flash-image", "Google AI Studio", Modality::Image, 300_007, 0, 0, 38_700_000_013, 32_768, 0, false, false, false),
    ("openai/whisper-1", "OpenAI", Modality::Transcription, 0, 0, 0, 3_315, 0, 0, true, false, false),
    ("openai/gpt-4o-mini-tts", "OpenAI", Modality::Speech, 0, 0, 0, 15_000_019, 0, 0, true, false, false),
    ("google/veo-3.1", "Google", Modality::Video, 0, 0, 0, 400_000_000_007, 0, 0, false, false, false),
    ("typesafe/decider-1", "TypeSafe", Modality::Decision, 70_001, 700_003, 0, 0, 32_768, 16, true, false, false),
];

const PLAIN: FinePrint = FinePrint {
    cache_read: None,
    cache_write: None,
    cache_write_1h: None,
    picture: None,
    audio: None,
    long: None,
    other: None,
};

const FINE_PRINT: &[(&str, FinePrint)] = &[
    ("openai/gpt-4o-mini", FinePrint { cache_read: Some(Pico(75_000)), picture: Some(Pico(217_000_011)), ..PLAIN }),
    (
        "anthropic/claude-sonnet-4.5",
        FinePrint {
            cache_read: Some(Pico(300_000)),
            cache_write: Some(Pico(3_750_000)),
            cache_write_1h: Some(Pico(6_000_000)),
            picture: Some(Pico(4_800_000_000)),
            ..PLAIN
        },
    ),
    (
        "google/gemini-2.5-flash",
        FinePrint {
            cache_read: Some(Pico(30_000)),
            cache_write: Some(Pico(83_333)),
            audio: Some(Pico(1_000_003)),
            long: Some((200_000, Pico(600_011), Pico(5_000_009))),
            ..PLAIN
        },
    ),
    (
        "meta-llama/llama-3.3-70b-instruct",
        FinePrint { other: Some(("Together", Pico(880_007), Pico(880_009))), ..PLAIN },
    ),
];

/// What `sim/…` names cost and do: odd prices, stops when hung up on, makes whatever the endpoint makes.
const SIM: Row =
    ("sim/echo", "Simulated", Modality::Text, 127_037, 390_001, 0, 1_000_003, 131_072, 16_384, true, false, false);

/// Authors other than `sim` that `/providers` lists.
pub const PROVIDERS: [&str; 12] = [
    "OpenAI",
    "Anthropic",
    "Google AI Studio",
    "Google",
    "DeepInfra",
    "Mistral",
    "Perplexity",
    "Chutes",
    "Cohere",
    "TypeSafe",
    "Together",
    "Simulated",
];

fn model(row: &Row, id: &str) -> Model {
    let free = id.ends_with(":free");
    let price = |pico: i128| if free { Pico::ZERO } else { Pico(pico) };
    Model {
        id: id.to_owned(),
        provider: row.1,
        modality: row.2,
        prompt: price(row.3),
        completion: price(row.4),
        request: price(row.5),
        unit: price(row.6),
        context: row.7,
        default_max: row.8,
        stops_on_cancel: row.9,
        trains: row.10,
        needs_own_key: row.11,
        fine_print: FINE_PRINT.iter().find(|(known, _)| *known == id).map_or(PLAIN, |(_, fine_print)| *fine_print),
    }
}

/// The model of that name: one of the catalogue, or any name under `sim/`.
pub fn find(id: &str) -> Option<Model> {
    if id == "openrouter/auto" {
        return find("openai/gpt-4o-mini");
    }
    if id.starts_with("sim/") {
        return Some(model(&SIM, id));
    }
    // `:online`, `:nitro` and the like route elsewhere but are the same model; `:free` is another one.
    let base = if id.ends_with(":free") { id } else { id.split(':').next().unwrap_or(id) };
    ROWS.iter().find(|row| row.0 == base).map(|row| model(row, row.0))
}

/// Every model with a fixed name, and `sim/echo`.
pub fn all() -> impl Iterator<Item = Model> {
    ROWS.iter().chain(std::iter::once(&SIM)).map(|row| model(row, row.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_models() {
        for (name, id, free) in [
            ("openai/gpt-4o-mini", "openai/gpt-4o-mini", false),
            ("openai/gpt-4o-mini:online", "openai/gpt-4o-mini", false),
            ("openrouter/auto", "openai/gpt-4o-mini", false),
            ("sim/error-500", "sim/error-500", false),
            ("sim/fixture-12:free", "sim/fixture-12:free", true),
            ("meta-llama/llama-3.3-70b-instruct:free", "meta-llama/llama-3.3-70b-instruct:free", true),
        ] {
            let model = find(name).unwrap();
            assert_eq!((model.id.as_str(), model.is_free()), (id, free));
            assert_eq!(free, model.prompt + model.completion == Pico::ZERO);
        }
        assert!(find("openai/gpt-4o-mini:free").is_none() && find("nobody/nothing").is_none());
        assert_eq!(all().filter(Model::is_free).count(), 2);
        for model in all() {
            assert!(PROVIDERS.contains(&model.provider), "{}", model.provider);
        }
    }
}
