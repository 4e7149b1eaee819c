//! A billable call, from its credential to the answer that is to be sent.

use std::sync::Arc;

use serde_json::json;

use super::amount::Pico;
use super::api::Api;
use super::ask::Ask;
use super::bill::{Generation, OwnKey, Quote, Status};
use super::catalogue::{self, Modality, Model};
use super::errors::{self, Facts, Refusal};
use super::faults::Fault;
use super::job::{Job, fixed_cost};
use super::play::{self, Play};
use super::reply::{Piece, Reply};
use super::script::{self, Occasion};
use super::seed;
use super::shared::Shared;
use super::wire::Head;
use super::world::{End, World};
use super::{admission, chat, fixtures, greed, media, messages, responses, small, text};

/// A request that may be worked on.
#[derive(Debug)]
pub struct Prepared {
    /// Index of the key.
    pub key: usize,
    ask: Ask,
    /// What was ordered for it.
    pub play: Play,
    seed: u64,
}

/// Check the credential, read the request and find out what was ordered for it.
pub fn prepare(shared: &Shared, head: &Head, api: Api, body: &[u8]) -> Result<Prepared, Reply> {
    let now_ms = shared.now_ms();
    let mut world = shared.world();
    let refuse = |refusal: &Refusal, user: Option<&str>| refused(refusal, api, user, &Play::default());
    let key = world.authenticate(head.credential(), now_ms).map_err(|refusal| refuse(&refusal, None))?;
    let user_id = world.pair(key).map(|(_, account)| account.user_id.clone());
    let ask = Ask::read(api, head.header("content-type").unwrap_or_default(), body);
    let ask = ask.map_err(|refusal| refuse(&refusal, user_id.as_deref()))?;
    let play = ordered(&mut world, key, &ask, head).map_err(|why| Reply::json(400, &sim_error(&why)))?;
    let ask = match catalogue::find(&ask.model) {
        Some(model) if Play::on(play.greedy) => greed::greedy(ask, &model, body),
        _ => ask,
    };
    Ok(Prepared { key, ask, play, seed: seed::of_bytes(body.get(..body.len().min(4096)).unwrap_or(body)) })
}

/// A mistake in an order to the simulator, told apart from what OpenRouter says.
pub fn sim_error(why: &str) -> serde_json::Value {
    json!({"error": {"message": format!("simulator: {why}"), "code": 400}})
}

/// The model's name, then a script, then the headers: later ones win.
fn ordered(world: &mut World, key: usize, ask: &Ask, head: &Head) -> Result<Play, String> {
    let account = world.pair(key).map(|(key, _)| key.account);
    let mut options = fixtures::magic(world, account, &ask.model)?.options();
    options.extend(play::of_query(ask.query.as_deref().unwrap_or_default()));
    let occasion = Occasion { key: Some(key), account, model: Some(&ask.model), path: head.path() };
    if let Some(play) = script::take(&mut world.scripts, &occasion, true) {
        options.extend(play.options());
    }
    let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    options.extend(play::of_headers(headers));
    Play::from_options(options)
}

/// Whether the fault ordered happens before anything is run.
fn nothing_is_run(play: &Play) -> bool {
    play.raw.is_some()
        || matches!(play.fault, Some(Fault::ResetBeforeHead | Fault::CloseBeforeHead | Fault::CutHead))
        || (play.body.is_some() && play.error.is_none())
}

/// Do the work: the answer, its call begun and held on the books.
pub fn perform(shared: &Arc<Shared>, head: &Head, prepared: Prepared) -> Reply {
    let Prepared { key, ask, play, seed } = prepared;
    if nothing_is_run(&play) {
        let content_type = "application/json".to_owned();
        return Reply {
            status: 200,
            headers: vec![("content-type".to_owned(), content_type)],
            play,
            ..Reply::default()
        };
    }
    let now_ms = shared.now_ms();
    let mut world = shared.world();
    let Some((user_id, hash)) = world.pair(key).map(|(key, account)| (account.user_id.clone(), key.hash.clone()))
    else {
        return refused(&errors::unknown_key(), ask.api, None, &play);
    };
    let Some(model) = catalogue::find(&ask.model) else {
        return refused(&errors::invalid_model(&ask.model), ask.api, Some(&user_id), &play);
    };
    let facts = Facts { now_ms, model: &model.id, provider: model.provider, key_hash: &hash };
    let ordered = match play.error.as_deref() {
        Some(name) => match errors::named(name, &facts) {
            Some(refusal) => Some(refusal),
            None => return Reply::json(400, &sim_error(&format!("no error is called {name}"))),
        },
        None => None,
    };
    let call = Call { head, key, ask: &ask, model: &model, play: &play, seed, now_ms, shared };
    match ordered {
        Some(refusal) if play.inside.is_none() => {
            let mut reply = refused(&refusal, ask.api, Some(&user_id), &play);
            if refusal.reached {
                let id = call.fail(&mut world);
                reply = with_generation(reply, &id, &play);
            }
            reply
        }
        failure => {
            call.run(&mut world, failure).unwrap_or_else(|refusal| refused(&refusal, ask.api, Some(&user_id), &play))
        }
    }
}

/// A refusal in the endpoint's envelope.
pub fn refused(refusal: &Refusal, api: Api, user_id: Option<&str>, play: &Play) -> Reply {
    let (content_type, body) = refusal.render(api.envelope(), user_id, Play::on(play.full_metadata));
    let mut reply = Reply::whole(refusal.status, content_type, body);
    for (name, value) in &refusal.headers {
        reply = reply.header(name, value.clone());
    }
    // Body options are for answers; a refusal keeps its own.
    Reply { play: Play { body: None, ..play.clone() }, ..reply }
}

fn with_generation(reply: Reply, id: &str, play: &Play) -> Reply {
    if Play::on(play.no_generation_id) { reply } else { reply.header("x-generation-id", id) }
}

/// One call about to be taken on.
struct Call<'a> {
    head: &'a Head,
    key: usize,
    ask: &'a Ask,
    model: &'a Model,
    play: &'a Play,
    seed: u64,
    now_ms: i64,
    shared: &'a Shared,
}

impl Call<'_> {
    /// The price, with the account's own key or without.
    fn quote(&self, world: &World) -> Quote {
        let ask = self.ask;
        let settings = world.pair(self.key).map(|(_, account)| &account.settings);
        let own = settings.is_some_and(|s| s.own_keys.iter().any(|provider| provider == self.model.provider));
        let ordered = self.play.own_key_cost.as_deref().and_then(Pico::parse_usd);
        let fee_permille = if ordered.is_some() { 0 } else { settings.map_or(0, |s| s.own_key_fee_permille) };
        // Text models charge for tokens only, and a search is one unit however many documents it orders.
        let units = match ask.api {
            Api::Rerank => ask.units.div_ceil(100),
            _ if self.model.modality == Modality::Text && ask.api.writes() => 0,
            Api::Embeddings | Api::Decisions | Api::SystemOne => 0,
            _ => ask.units,
        };
        let (prompt, completion, pictures) = match &ask.greed {
            Some(greed) => greed::prices(self.model, ask, greed),
            None => (self.model.prompt, self.model.completion, Pico::ZERO),
        };
        Quote {
            base: prompt * ask.prompt_tokens + self.model.request + self.model.unit * units + pictures,
            per_token: completion,
            fixed: fixed_cost(self.play),
            own_key: (own || ordered.is_some()).then_some(OwnKey { upstream: ordered, fee_permille }),
        }
    }

    /// Output tokens the model will make.
    fn output_tokens(&self) -> u64 {
        if let Some(greed) = &self.ask.greed {
            return greed.output_tokens;
        }
        let usual = match self.ask.api {
            Api::Decisions | Api::SystemOne => 1,
            api if api.writes() => 8 + self.seed % 25,
            _ => return 0,
        };
        let wanted = self.play.output_tokens.unwrap_or(usual).min(self.ask.max_tokens.unwrap_or(u64::MAX));
        match self.play.inside {
            Some(at) if self.play.error.is_some() => wanted.min(at as u64),
            _ => wanted,
        }
    }

    fn generation(&self, id: &str, key_account: usize, quote: Quote, output_tokens: u64) -> Generation {
        Generation {
            id: id.to_owned(),
            key: self.key,
            account: key_account,
            api: self.ask.api,
            model: self.model.id.clone(),
            provider: self.model.provider,
            created_ms: self.now_ms,
            ended_ms: None,
            known_after_ms: Some(self.play.generation_ms.unwrap_or(self.shared.generation_ms)).filter(|ms| *ms >= 0),
            prompt_tokens: self.ask.prompt_tokens,
            output_tokens,
            streamed: self.ask.stream,
            status: Status::Running,
            cost: Pico::ZERO,
            own_key_cost: None,
            finish: "stop".to_owned(),
            user_agent: self.head.header("user-agent").map(str::to_owned),
            referer: self.head.header("http-referer").map(str::to_owned),
            quote,
            held: Pico::ZERO,
        }
    }

    fn id(&self, world: &mut World) -> String {
        format!("{}-{}-{}", self.ask.api.id_prefix(), self.now_ms / 1000, world.seed.letters(20))
    }

    /// A call that reached a provider and failed there before anything was made.
    fn fail(&self, world: &mut World) -> String {
        let id = self.id(world);
        let account = world.pair(self.key).map_or(0, |(key, _)| key.account);
        if let Some(account) = world.accounts.get_mut(account).filter(|_| self.model.is_free()) {
            admission::count_free(account, self.now_ms);
        }
        world.begin(self.generation(&id, account, Quote::default(), 0));
        world.end(&id, End::Failed, self.now_ms);
        id
    }

    /// Admit it, put it on the books, and make its answer.
    fn run(&self, world: &mut World, failure: Option<Refusal>) -> Result<Reply, Refusal> {
        let quote = self.quote(world);
        let held = admission::admit(world, self.key, self.ask, self.model, &quote, self.now_ms)?;
        let id = self.id(world);
        let account = world.pair(self.key).map_or(0, |(key, _)| key.account);
        let output_tokens = self.output_tokens();
        let written = if self.ask.greed.is_some() { output_tokens.min(greed::WORDS_MAX) } else { output_tokens };
        let job = Job {
            ask: self.ask,
            model: self.model,
            play: self.play,
            id: id.clone(),
            created: self.now_ms / 1000,
            quote,
            words: text::words(self.seed, written, self.play),
            output_tokens,
            failure,
        };
        let mut generation = self.generation(&id, account, quote, output_tokens);
        generation.held = held;
        generation.finish = job.finish().to_owned();
        world.begin(generation);
        let end = if job.failure.is_some() && !job.shows_usage() { End::Failed } else { End::Complete };
        let mut reply = with_generation(answer(&job, world), &id, self.play);
        // Hanging up on a JSON answer stops no bill, even where padding has already begun to flow.
        reply.stops_on_cancel = self.ask.stream && self.play.stops_on_cancel.unwrap_or(self.model.stops_on_cancel);
        reply.play = self.play.clone();
        // A video is billed when it is done, not when it is ordered.
        reply.run = (self.ask.api != Api::Videos).then_some((id, end));
        Ok(reply)
    }
}

/// The answer in the endpoint's dialect.
fn answer(job: &Job<'_>, world: &mut World) -> Reply {
    let streams = |events: Vec<Piece>, keep_alive: &str| Reply {
        pieces: chat::pace(job, events, keep_alive),
        streamed: true,
        ..Reply::default()
    };
    let sse = |events, keep_alive| {
        let reply: Reply = streams(events, keep_alive);
        Reply { status: 200, ..reply }.header("content-type", "text/event-stream").header("cache-control", "no-cache")
    };
    let json = |body: serde_json::Value| {
        let pieces = chat::padded(job, &body);
        let streamed = pieces.len() != 1;
        Reply { status: 200, pieces, streamed, ..Reply::default() }.header("content-type", "application/json")
    };
    match (job.ask.api, job.ask.stream) {
        (Api::Chat | Api::Cursor | Api::Completions, true) => sse(chat::events(job), chat::COMMENT),
        (Api::Chat | Api::Cursor | Api::Completions, false) => json(chat::body(job)),
        (Api::Responses, true) => sse(responses::events(job), responses::COMMENT),
        (Api::Responses, false) => json(responses::body(job)),
        (Api::Messages, true) => sse(messages::events(job), messages::PING),
        (Api::Messages, false) => json(messages::body(job)),
        (Api::Images, true) => sse(media::image_events(job), chat::COMMENT),
        (Api::Images, false) => json(media::images(job)),
        (Api::Transcriptions, _) => json(media::transcription(job)),
        (Api::Speech, _) => media::speech(job),
        (Api::Videos, _) => super::videos::submit(job, world),
        (Api::Embeddings, _) => json(small::embeddings(job)),
        (Api::Rerank, _) => json(small::rerank(job)),
        (Api::Decisions | Api::SystemOne, _) => json(small::decision(job)),
    }
}
