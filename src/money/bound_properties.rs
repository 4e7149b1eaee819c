//! Properties of bounds, against a biller that knows nothing of them: whatever a request's tokens turn out to be, within
//! the limits it and its model have, the bill is never above the bound.

use std::time::Duration;

use http::HeaderMap;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{PriceList, Usd, affordable_tokens, worst_cost};
use crate::clock::Timestamp;
use crate::upstream::{Endpoint, Spending, parse_models};

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

/// A model's prices in pico-dollars, and its limits.
#[derive(Clone, Debug)]
struct Sheet {
    prompt: i64,
    completion: i64,
    request: i64,
    image: Option<i64>,
    reasoning: Option<i64>,
    cache_read: Option<i64>,
    cache_write: Option<i64>,
    cache_write_1h: Option<i64>,
    overrides: Vec<Long>,
    context: u64,
    most: Option<u64>,
}

/// Prices for prompts of more tokens than `above`.
#[derive(Clone, Debug)]
struct Long {
    above: u64,
    prompt: Option<i64>,
    completion: Option<i64>,
    write: Option<i64>,
}

fn dollars(pico: i64) -> String {
    format!("{}.{:012}", pico / 1_000_000_000_000, pico % 1_000_000_000_000)
}

impl Sheet {
    fn listed(&self, id: &str) -> Value {
        let mut pricing = json!({"prompt": dollars(self.prompt), "completion": dollars(self.completion),
            "request": dollars(self.request)});
        for (name, price) in [
            ("image", self.image),
            ("internal_reasoning", self.reasoning),
            ("input_cache_read", self.cache_read),
            ("input_cache_write", self.cache_write),
            ("input_cache_write_1h", self.cache_write_1h),
        ] {
            if let Some(price) = price {
                pricing[name] = dollars(price).into();
            }
        }
        let entry = |long: &Long| {
            let mut entry = json!({"min_prompt_tokens": long.above});
            let Long { prompt, completion, write, .. } = *long;
            for (name, price) in [("prompt", prompt), ("completion", completion), ("input_cache_write", write)] {
                if let Some(price) = price {
                    entry[name] = dollars(price).into();
                }
            }
            entry
        };
        pricing["overrides"] = self.overrides.iter().map(entry).collect();
        json!({"id": id, "pricing": pricing, "context_length": self.context,
            "top_provider": {"max_completion_tokens": self.most}})
    }
}

/// How a request turned out, as shares of what was possible.
#[derive(Clone, Debug)]
struct Outcome {
    second_model: bool,
    prompt: f64,
    written: f64,
    read: f64,
    output: f64,
    reasoning: f64,
}

#[derive(Clone, Debug)]
struct Request {
    max_tokens: Option<u64>,
    n: Option<u64>,
    images: usize,
    image_bytes: usize,
    text: usize,
    ttl: Option<&'static str>,
    tools: usize,
    fallback: bool,
}

impl Request {
    fn body(&self) -> Value {
        let url = format!("data:image/png;base64,{}", "iVBO".repeat(self.image_bytes / 4));
        let mut parts = vec![json!({"type": "text", "text": "w ".repeat(self.text / 2)})];
        parts.extend((0..self.images).map(|_| json!({"type": "image_url", "image_url": {"url": url}})));
        if let Some(ttl) = self.ttl {
            parts[0]["cache_control"] = json!({"type": "ephemeral", "ttl": ttl});
        }
        let mut body = json!({"model": "a/one", "messages": [{"role": "user", "content": parts}]});
        for (name, value) in [("max_tokens", self.max_tokens), ("n", self.n)] {
            if let Some(value) = value {
                body[name] = value.into();
            }
        }
        if self.tools > 0 {
            let tool = |n| json!({"type": "function", "function": {"name": format!("f{n}"), "parameters": {}}});
            body["tools"] = (0..self.tools).map(tool).collect();
        }
        if self.fallback {
            body["models"] = json!(["a/two:nitro"]);
            body["service_tier"] = "default".into();
        }
        body
    }

    /// The bill, worked out the plain way.
    fn bill(&self, sheets: &[Sheet; 2], outcome: &Outcome) -> i128 {
        let sheet = if outcome.second_model && self.fallback { &sheets[1] } else { &sheets[0] };
        let share = |of: u64, share: f64| (of as f64 * share) as u64;
        // Every letter of the text a token, 48,169 for a picture, some for the template and the tools.
        let possible = self.text as u64 + 48_169 * self.images as u64 + 400 + if self.tools > 0 { 800 } else { 0 };
        let prompt = share(possible.min(sheet.context), outcome.prompt);
        let limit = self.max_tokens.or(sheet.most).unwrap_or(sheet.context).min(sheet.context);
        let output = share(limit, outcome.output);
        let (mut p, mut c, mut w) = (sheet.prompt, sheet.completion, sheet.cache_write);
        for long in sheet.overrides.iter().filter(|long| prompt > long.above) {
            p = long.prompt.unwrap_or(p);
            c = long.completion.unwrap_or(c);
            w = long.write.or(w);
        }
        let hour = sheet.cache_write_1h.unwrap_or(2 * p);
        let write_price = if self.ttl == Some("1h") { hour } else { w.unwrap_or(p) };
        let written = share(prompt, outcome.written);
        let read = share(prompt - written, outcome.read);
        let reasoning = share(output, outcome.reasoning);
        let answers = i128::from(self.n.unwrap_or(1));
        let times = |tokens: u64, price: i64| i128::from(tokens) * i128::from(price);
        times(written, write_price)
            + times(read, sheet.cache_read.unwrap_or(p).min(p))
            + times(prompt - written - read, p)
            + answers * (times(output - reasoning, c) + times(reasoning, sheet.reasoning.unwrap_or(c)))
            + i128::from(sheet.request)
            + times(self.images as u64, sheet.image.unwrap_or(0))
    }
}

fn sheet() -> impl Strategy<Value = Sheet> {
    let price = || 1i64..100_000_000;
    let maybe = || prop::option::of(1i64..100_000_000);
    let an_override = (0u64..150_000, maybe(), maybe(), maybe()).prop_map(|(above, prompt, completion, write)| Long {
        above,
        prompt,
        completion,
        write,
    });
    let extras = (maybe(), maybe(), maybe(), maybe(), maybe());
    let limits = (1_000u64..1_000_000, prop::option::of(1u64..100_000));
    (price(), price(), 0i64..10_000_000_000, extras, prop::collection::vec(an_override, 0..3), limits).prop_map(
        |(
            prompt,
            completion,
            request,
            (image, reasoning, cache_read, cache_write, cache_write_1h),
            overrides,
            (context, most),
        )| {
            Sheet {
                prompt,
                completion,
                request,
                image,
                reasoning,
                cache_read,
                cache_write,
                cache_write_1h,
                overrides,
                context,
                most,
            }
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    let ttl = prop::sample::select(&[None, Some("5m"), Some("1h")][..]);
    let output = (prop::option::of(1u64..200_000), prop::option::of(1u64..8));
    let input = (0usize..4, 4usize..60_000, 0usize..300_000, 0usize..5);
    (output, input, ttl, any::<bool>()).prop_map(
        |((max_tokens, n), (images, image_bytes, text, tools), ttl, fallback)| Request {
            max_tokens,
            n,
            images,
            image_bytes,
            text,
            ttl,
            tools,
            fallback,
        },
    )
}

fn share() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(1.0), 0.0..1.0f64]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    (any::<bool>(), share(), share(), share(), share(), share()).prop_map(
        |(second_model, prompt, written, read, output, reasoning)| Outcome {
            second_model,
            prompt,
            written,
            read,
            output,
            reasoning,
        },
    )
}

fn list(sheets: &[Sheet; 2]) -> PriceList {
    let body = json!({"data": [sheets[0].listed("a/one"), sheets[1].listed("a/two")]}).to_string();
    PriceList::new(parse_models(body.as_bytes()).expect("a list"), NOW, Duration::from_secs(60))
}

fn bound(request: &Request, prices: &PriceList) -> Usd {
    worst_cost(&spending(request), prices, NOW, None).unwrap_or_else(|why| panic!("{why}: {request:?}"))
}

fn spending(request: &Request) -> Spending {
    Spending::read(Endpoint::ChatCompletions, &HeaderMap::new(), request.body().to_string().as_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn no_bill_is_above_the_bound(
        sheets in [sheet(), sheet()],
        request in request(),
        outcomes in prop::collection::vec(outcome(), 1..8),
    ) {
        let bound = i128::from(bound(&request, &list(&sheets)).as_pico());
        for outcome in outcomes {
            let bill = request.bill(&sheets, &outcome);
            prop_assert!(bill <= bound, "{} billed, {} held: {:?} {:?}", bill, bound, request, outcome);
        }
    }

    #[test]
    fn more_tokens_never_cost_less(sheets in [sheet(), sheet()], request in request(), a in 0u64..300_000, b in 0u64..300_000) {
        let prices = list(&sheets);
        let at = |max_tokens| bound(&Request { max_tokens: Some(max_tokens), ..request.clone() }, &prices);
        prop_assert!(at(a.min(b)) <= at(a.max(b)));
    }

    #[test]
    fn the_affordable_is_affordable_and_no_more_is(sheets in [sheet(), sheet()], request in request(), share in 0.0..1.2f64) {
        let prices = list(&sheets);
        let at = |max_tokens| bound(&Request { max_tokens: Some(max_tokens), ..request.clone() }, &prices);
        // Written down with as many digits as the largest limit, for the request's length counts too.
        let spending = spending(&Request { max_tokens: Some(100_000), ..request.clone() });
        let money = Usd::from_pico((at(100_000).as_pico() as f64 * share) as i64);
        let tokens = affordable_tokens(&spending, &prices, money).expect("a bound");
        let longest = sheets[0].context.max(if request.fallback { sheets[1].context } else { 0 });
        prop_assert!(tokens <= longest);
        let slack = |tokens| at(tokens).as_pico() - money.as_pico();
        if (100_000..999_998).contains(&tokens) {
            prop_assert!(slack(tokens) <= 0);
            prop_assert!(tokens == longest || slack(tokens + 1) > 0);
        } else if tokens > 0 {
            prop_assert!(slack(tokens) <= 0, "a shorter number is a shorter request");
        }
    }
}
