//! What models cost by the upstream's own list (`GET /models`), for bounds only: what was charged is in the answers.
//!
//! A price that is missing, negative or no number is unknown, and so is a zero that no name explains. Unknown is never
//! zero: nothing can be bounded with it.

use super::Usd;

/// Dollars for one token or unit of each kind. `None` is not charged separately: tokens of that kind then cost what
/// prompt or completion cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// An input token.
    pub prompt: Option<Usd>,
    /// An output token.
    pub completion: Option<Usd>,
    /// A request, whatever its size.
    pub request: Option<Usd>,
    /// A picture in the input.
    pub image: Option<Usd>,
    /// An input token of a picture.
    pub image_token: Option<Usd>,
    /// An output token of a picture.
    pub image_output: Option<Usd>,
    /// An input token of sound.
    pub audio: Option<Usd>,
    /// An output token of sound.
    pub audio_output: Option<Usd>,
    /// A search by the provider.
    pub web_search: Option<Usd>,
    /// An output token of reasoning.
    pub internal_reasoning: Option<Usd>,
    /// An input token read from a prompt cache.
    pub input_cache_read: Option<Usd>,
    /// An input token written to a prompt cache for five minutes.
    pub input_cache_write: Option<Usd>,
    /// An input token written to a prompt cache for an hour.
    pub input_cache_write_1h: Option<Usd>,
    /// The highest price under a name that is not known here. It may be for anything.
    pub other: Option<Usd>,
}

/// Prices that apply instead when a prompt is long. Keys that are absent keep the price's own.
///
/// Other conditions (hours of the day, and whatever comes later) are not kept: the override may apply at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    /// It may apply to prompts of more tokens than this.
    pub above: u64,
    /// The prices.
    pub rates: Rates,
}

/// How a model searches the web.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnSearch {
    /// Its provider has no search: OpenRouter searches once, when asked to.
    #[default]
    Never,
    /// When asked to, its provider searches, as often as the model likes.
    Asked,
    /// Once in every request.
    Always,
    /// In every request, as often as the model likes.
    Endless,
}

/// What one offer of a model costs, and its limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// The prices of an ordinary request.
    pub rates: Rates,
    /// The prices of others.
    pub overrides: Box<[Override]>,
    /// Tokens the model can hold, input and output together.
    pub context: Option<u64>,
    /// Output tokens it writes at most.
    pub max_output: Option<u64>,
    /// It does not heed a limit on output tokens.
    pub unlimited: bool,
    /// It may answer in pictures.
    pub draws: bool,
    /// It may answer in something that is neither text nor picture.
    pub plays: bool,
    /// It reads attached files itself.
    pub reads_files: bool,
    /// How it searches the web.
    pub search: OwnSearch,
    /// For requests that ask for speed at a higher price.
    pub fast: bool,
}

/// The kinds of input tokens a request may have besides plain ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InputKinds {
    /// Sound.
    pub audio: bool,
    /// Pictures.
    pub images: bool,
    /// Some are to be cached for an hour.
    pub hour_cache: bool,
}

impl Price {
    /// The most an input token may cost in a prompt of at most `tokens`. Any of them may be written to a cache.
    pub fn input_rate(&self, tokens: u64, kinds: InputKinds) -> Option<Usd> {
        self.highest(tokens, |rates| {
            let plain = rates.prompt.max(rates.input_cache_write).max(rates.input_cache_read).max(rates.other);
            // Twice the prompt price is what an hour costs where it has no price of its own.
            let hour = kinds.hour_cache.then(|| rates.input_cache_write_1h.max(twice(rates.prompt))).flatten();
            let audio = rates.audio.filter(|_| kinds.audio);
            let image = rates.image_token.filter(|_| kinds.images);
            plain.max(hour).max(audio).max(image)
        })
    }

    /// The most an output token may cost after a prompt of at most `tokens`.
    pub fn output_rate(&self, tokens: u64) -> Option<Usd> {
        self.highest(tokens, |rates| {
            let written = rates.completion.max(rates.internal_reasoning);
            written.max(rates.image_output).max(rates.audio_output).max(rates.other)
        })
    }

    /// The most a request may cost whatever its size.
    pub fn request_rate(&self, tokens: u64) -> Option<Usd> {
        self.highest(tokens, |rates| rates.request.max(rates.other))
    }

    /// The most a picture in the input may cost, besides its tokens.
    pub fn image_rate(&self, tokens: u64) -> Option<Usd> {
        self.highest(tokens, |rates| rates.image)
    }

    /// The highest of every set of prices that may apply to a prompt of at most `tokens`; what is absent is the lowest.
    fn highest(&self, tokens: u64, rate: impl Fn(&Rates) -> Option<Usd>) -> Option<Usd> {
        let overrides = self.overrides.iter().filter(|o| tokens > o.above).map(|o| rate(&o.rates));
        overrides.fold(rate(&self.rates), Option::max)
    }
}

/// Twice the amount; the largest amount where that is too much.
fn twice(rate: Option<Usd>) -> Option<Usd> {
    rate.map(|rate| rate.saturating_add(rate))
}

/// A listed model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its id, `author/slug`.
    pub id: Box<str>,
    /// Its permanent name; variants of a model share it.
    pub canonical: Option<Box<str>>,
    /// Every price it may be billed at; none is unknown.
    pub prices: Vec<Price>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_price_that_may_apply_counts() {
        let usd = |pico| Some(Usd::from_pico(pico));
        let base = Rates { prompt: usd(10), completion: usd(20), ..Rates::default() };
        let long = Rates { prompt: usd(30), completion: usd(15), ..Rates::default() };
        let priced = |rates, overrides: &[Override]| Price { rates, overrides: overrides.into(), ..Price::default() };
        let check = |price: &Price, tokens, kinds, input, output| {
            assert_eq!(
                (price.input_rate(tokens, kinds), price.output_rate(tokens)),
                (usd(input), usd(output)),
                "{price:?}"
            );
        };
        let plain = InputKinds::default();
        check(&priced(base, &[]), 5, plain, 10, 20);
        check(&priced(base, &[Override { above: 100, rates: long }]), 100, plain, 10, 20);
        check(&priced(base, &[Override { above: 100, rates: long }]), 101, plain, 30, 20);
        check(
            &priced(Rates { input_cache_write: usd(12), internal_reasoning: usd(25), ..base }, &[]),
            5,
            plain,
            12,
            25,
        );
        let hour = InputKinds { hour_cache: true, ..plain };
        check(&priced(Rates { input_cache_write: usd(12), ..base }, &[]), 5, hour, 20, 20);
        check(&priced(Rates { input_cache_write_1h: usd(23), ..base }, &[]), 5, hour, 23, 20);
        check(&priced(Rates { input_cache_write_1h: usd(23), ..base }, &[]), 5, plain, 10, 20);
        check(&priced(base, &[Override { above: 0, rates: long }]), 5, hour, 60, 20);
        let media =
            Rates { audio: usd(40), image_token: usd(35), audio_output: usd(80), image_output: usd(90), ..base };
        check(&priced(media, &[]), 5, plain, 10, 90);
        check(&priced(media, &[]), 5, InputKinds { audio: true, ..plain }, 40, 90);
        check(&priced(media, &[]), 5, InputKinds { images: true, ..plain }, 35, 90);
        check(&priced(Rates { other: usd(99), ..base }, &[]), 5, plain, 99, 99);
        let fees = priced(Rates { request: usd(3), image: usd(4), other: usd(2), ..base }, &[]);
        assert_eq!((fees.request_rate(1), fees.image_rate(1)), (usd(3), usd(4)));
    }
}
