//! Video jobs: taken on at once, finished later, asked for again and again by whoever may.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::api::Api;
use super::errors;
use super::inference::refused;
use super::job::Job;
use super::play::Play;
use super::reply::Reply;
use super::shared::Shared;
use super::wire::Head;
use super::world::{End, World};

/// Jobs remembered; one more, and all are forgotten.
const JOBS_MAX: usize = 10_000;

/// One job.
#[derive(Clone, Debug)]
pub struct VideoJob {
    account: usize,
    generation: String,
    polls_left: u32,
    absolute: bool,
    failed: Option<String>,
    /// `cost` as it was ordered: `null` and `missing` are shown so.
    cost: Option<String>,
}

/// All jobs, by id.
pub type Jobs = HashMap<String, VideoJob>;

/// `POST /videos`: 202 and where to ask.
pub fn submit(job: &Job<'_>, world: &mut World) -> Reply {
    if world.jobs.len() >= JOBS_MAX {
        world.jobs.clear();
    }
    let id = world.seed.letters(22);
    let Some(generation) = world.generations.get(&job.id) else { return Reply::default() };
    let video = VideoJob {
        account: generation.account,
        generation: job.id.clone(),
        polls_left: job.play.polls.unwrap_or(1),
        absolute: Play::on(job.play.absolute_polling),
        failed: job.failure.as_ref().map(|failure| failure.message.clone()),
        cost: job.play.cost.clone(),
    };
    let body = json!({"id": id, "generation_id": job.id, "polling_url": polling_url(&id, &video), "status": "pending"});
    world.jobs.insert(id, video);
    Reply::json(202, &body)
}

fn polling_url(id: &str, video: &VideoJob) -> String {
    let origin = if video.absolute { "https://openrouter.ai" } else { "" };
    format!("{origin}/api/v1/videos/{id}")
}

/// `GET /videos/{id}` and `GET /videos/{id}/content`, for keys of the account that ordered it.
pub fn read(shared: &Shared, head: &Head, rest: &str) -> Reply {
    let now_ms = shared.now_ms();
    let mut world = shared.world();
    let key = match world.authenticate(head.credential(), now_ms) {
        Ok(key) => key,
        Err(refusal) => return refused(&refusal, Api::Videos, None, &Play::default()),
    };
    let user_id = world.pair(key).map(|(_, account)| account.user_id.clone());
    let refuse = |refusal| refused(&refusal, Api::Videos, user_id.as_deref(), &Play::default());
    let (id, content) = match rest.split_once('/') {
        Some((id, "content")) => (id, true),
        Some(_) => return refuse(errors::not_found()),
        None => (rest, false),
    };
    let account = world.pair(key).map(|(key, _)| key.account);
    let Some(video) = world.jobs.get_mut(id).filter(|video| Some(video.account) == account) else {
        return refuse(errors::Refusal::new(404, "not_found", format!("Video job {id} not found")));
    };
    if content {
        if video.polls_left > 0 || video.failed.is_some() {
            return refuse(errors::Refusal::new(404, "not_found", "Video content is not available yet"));
        }
        let generation = video.generation.clone();
        world.end(&generation, End::Complete, now_ms);
        return Reply::whole(200, "video/mp4", b"\0\0\0\x18ftypmp42 not really a video".to_vec());
    }
    if video.polls_left > 0 {
        video.polls_left -= 1;
        let url = polling_url(id, video);
        return Reply::json(200, &json!({"id": id, "polling_url": url, "status": "in_progress"}));
    }
    let video = video.clone();
    finished(&mut world, id, &video, now_ms)
}

fn finished(world: &mut World, id: &str, video: &VideoJob, now_ms: i64) -> Reply {
    let url = polling_url(id, video);
    if let Some(why) = &video.failed {
        world.end(&video.generation, End::Failed, now_ms);
        return Reply::json(200, &json!({"id": id, "polling_url": url, "status": "failed", "error": why}));
    }
    world.end(&video.generation, End::Complete, now_ms);
    let Some(generation) = world.generations.get(&video.generation) else { return Reply::default() };
    let mut usage = Map::new();
    match video.cost.as_deref() {
        Some("missing") => None,
        Some("null") => usage.insert("cost".to_owned(), Value::Null),
        _ => usage.insert("cost".to_owned(), generation.cost.to_json()),
    };
    usage.insert("is_byok".to_owned(), generation.own_key_cost.is_some().into());
    let body = json!({"id": id, "generation_id": video.generation, "polling_url": url, "status": "completed",
        "unsigned_urls": [format!("{url}/content?index=0")], "usage": usage});
    Reply::json(200, &body)
}
