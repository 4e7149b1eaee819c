//! The most a request may cost: what is held of a capped key's money before the request goes out.
//!
//! Every figure is the highest that may apply, of every model the request allows, at every price the model may be billed
//! at. What cannot be bounded is an error, never an amount, unless the operator has set one for it.

use crate::clock::Timestamp;
use crate::upstream::{Facts, Files, Search, Spending};

use super::price::InputKinds;
use super::price_list::has_suffix;
use super::{Model, OwnSearch, Price, PriceList, Unbounded, Usd};

/// The least output that a provider makes of any limit.
const OUTPUT_MIN_TOKENS: u64 = 16;
/// A listed fee for a search is that of the smallest search; the largest ones cost 2.8 times as much (Perplexity).
const SEARCH_FACTOR: u64 = 3;

/// The most a request may cost with these prices; `default` where nobody can say (`ledger.default_bound_usd`).
///
/// # Errors
/// Why there is no bound, when there is no default either.
pub fn worst_cost(
    spending: &Spending,
    prices: &PriceList,
    now: Timestamp,
    default: Option<Usd>,
) -> Result<Usd, Unbounded> {
    let bound = if prices.is_current(now) { bound(spending, prices) } else { Err(Unbounded::OldPrices) };
    bound.or_else(|why| default.ok_or(why))
}

fn bound(spending: &Spending, prices: &PriceList) -> Result<Usd, Unbounded> {
    let facts = spending.facts()?;
    let asked = facts.output.and_then(|output| output.asked);
    let mut worst = None;
    each_offer(facts, prices, |offer| {
        worst = worst.max(Some(offer.cost(asked)?.max(Usd::ZERO)));
        Ok(())
    })?;
    worst.ok_or(Unbounded::NoModel)
}

/// The largest `max_tokens` with which the request costs no more than `money`; 0 when it costs more with any.
///
/// `None` when it has no bound, or writes nothing whose length could be limited.
pub fn affordable_tokens(spending: &Spending, prices: &PriceList, money: Usd) -> Option<u64> {
    let facts = spending.facts().ok()?;
    facts.output?;
    let mut offers = Vec::new();
    each_offer(facts, prices, |offer| {
        offers.push(offer);
        Ok(())
    })
    .ok()
    .filter(|()| !offers.is_empty())?;
    let fits = |tokens| offers.iter().all(|offer| offer.cost(Some(tokens)).is_ok_and(|cost| cost <= money));
    // More than the longest context changes nothing.
    let longest = offers.iter().filter_map(|offer| offer.price.context).max();
    let mut above = longest.unwrap_or(u64::from(u32::MAX));
    if fits(above) {
        return Some(above);
    }
    // Costs rise with the limit: `fits` holds up to some number and not beyond.
    let mut below = 0;
    while below + 1 < above {
        let middle = below + (above - below) / 2;
        if fits(middle) { below = middle } else { above = middle }
    }
    Some(below)
}

/// Look at every price at which a request may be billed.
fn each_offer<'a>(
    facts: &'a Facts,
    prices: &'a PriceList,
    mut look: impl FnMut(Offer<'a>) -> Result<(), Unbounded>,
) -> Result<(), Unbounded> {
    for name in &facts.models {
        let word = || Unbounded::word(name);
        let model = prices.find(name).filter(|model| !model.prices.is_empty());
        let model = model.ok_or_else(|| Unbounded::NoPrice(word()))?;
        let fast = facts.fast || (has_suffix(name, "nitro") && !facts.ordinary);
        if fast && !prices.knows_tiers(name) {
            return Err(Unbounded::Tier(word()));
        }
        if facts.media_out && prices.is_router(name) {
            return Err(Unbounded::Output(word()));
        }
        let mut billed = model.prices.iter().filter(|price| fast || !price.fast);
        billed.try_for_each(|price| look(Offer { facts, model, price }))?;
    }
    Ok(())
}

/// One price at which a request may be billed.
struct Offer<'a> {
    facts: &'a Facts,
    model: &'a Model,
    price: &'a Price,
}

impl Offer<'_> {
    fn cost(&self, asked: Option<u64>) -> Result<Usd, Unbounded> {
        let Facts { input, files, .. } = self.facts;
        if *files == Files::ModelOrScanned && !self.price.reads_files {
            return Err(Unbounded::Files(self.word()));
        }
        let search = self.search_fee()?;
        // What is not in the body may be anything: a film has pictures, and sound too.
        let kinds = InputKinds {
            audio: input.audio || input.whole_context,
            images: input.images > 0 || input.whole_context,
            hour_cache: input.hour_cache,
        };
        let tokens = self.input_tokens();
        let tokens_at_most = tokens.unwrap_or(u64::MAX);
        let input_rate = self.price.input_rate(tokens_at_most, kinds).unwrap_or_default();
        // What costs nothing may be as long as it likes.
        let tokens =
            if input_rate == Usd::ZERO { 0 } else { tokens.ok_or_else(|| Unbounded::NoContext(self.word()))? };
        let output = self.output_cost(asked, tokens_at_most)?;
        let image = self.price.image_rate(tokens_at_most).unwrap_or_default();
        let request = self.price.request_rate(tokens_at_most).unwrap_or_default();
        let parts =
            [times(tokens, input_rate), times(input.images, image), times(1, request), Some(search), Some(output)];
        sum(parts).and_then(|pico| i64::try_from(pico).ok()).map(Usd::from_pico).ok_or(Unbounded::Overflow)
    }

    /// Input tokens at most; `None` when only the context would limit them, and is not known.
    fn input_tokens(&self) -> Option<u64> {
        let input = &self.facts.input;
        let context = input.prompts.and_then(|prompts| self.price.context?.checked_mul(prompts));
        let searches = self.facts.search != Search::No || self.price.search == OwnSearch::Always;
        match context {
            Some(context) if input.whole_context || searches => Some(context),
            Some(context) => Some(input.tokens.min(context)),
            None if input.whole_context || searches => None,
            None => Some(input.tokens),
        }
    }

    fn output_cost(&self, asked: Option<u64>, input_tokens: u64) -> Result<i128, Unbounded> {
        let Some(output) = self.facts.output else { return Ok(0) };
        let price = self.price;
        let unlisted =
            price.plays && price.rates.audio_output.is_none() || price.draws && price.rates.image_output.is_none();
        if unlisted && !output.decides {
            return Err(Unbounded::Output(self.word()));
        }
        let rate = price.output_rate(input_tokens).unwrap_or_default();
        if rate == Usd::ZERO {
            return Ok(0);
        }
        // Pictures are drawn whole, whatever the limit.
        let asked = asked.filter(|_| !price.unlimited && !price.draws).map(|asked| asked.max(OUTPUT_MIN_TOKENS));
        let limit = asked.or(price.max_output).or(price.context).ok_or_else(|| Unbounded::NoLimit(self.word()))?;
        let tokens = limit.saturating_add(output.more).min(price.context.unwrap_or(u64::MAX));
        let copies = i128::from(output.copies);
        times(tokens, rate).and_then(|one| one.checked_mul(copies)).ok_or(Unbounded::Overflow)
    }

    /// What a search costs besides its tokens.
    fn search_fee(&self) -> Result<i128, Unbounded> {
        let endless = || Err(Unbounded::Search(self.word()));
        let asked = match (self.facts.search, self.price.search) {
            (_, OwnSearch::Endless) | (Search::Provider, OwnSearch::Never) => return endless(),
            (Search::Provider | Search::Either(_), OwnSearch::Asked) => return endless(),
            (Search::No | Search::Provider, _) => Usd::ZERO,
            (Search::Engine(fee) | Search::Either(fee), _) => fee,
        };
        let mut own = 0;
        if self.price.search == OwnSearch::Always {
            let rates = &self.price.rates;
            let listed = [rates.web_search, rates.request].into_iter().flatten().any(|fee| fee > Usd::ZERO);
            if !listed {
                return endless();
            }
            own = times(SEARCH_FACTOR, rates.web_search.unwrap_or_default()).ok_or(Unbounded::Overflow)?;
        }
        own.checked_add(i128::from(asked.as_pico())).ok_or(Unbounded::Overflow)
    }

    fn word(&self) -> Box<str> {
        Unbounded::word(&self.model.id)
    }
}

fn times(count: u64, rate: Usd) -> Option<i128> {
    i128::from(count).checked_mul(i128::from(rate.as_pico()))
}

fn sum<const N: usize>(parts: [Option<i128>; N]) -> Option<i128> {
    parts.into_iter().try_fold(0i128, |sum, part| sum.checked_add(part?))
}

#[cfg(test)]
mod tests;
