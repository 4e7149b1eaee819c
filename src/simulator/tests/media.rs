//! Everything that is not text: embeddings, rerank, decisions, pictures, transcripts, speech, videos.

use super::*;
use crate::simulator::{Play, Script};

/// One POST on a simulator of its own, with what it was billed.
async fn billed(path: &str, body: &Value) -> (Answer, Generation) {
    let simulator = simulator_at("2026-11-25T12:00:00Z").await;
    let key = simulator.funded_key(Pico::usd(50));
    let answer = post(&simulator, path, &key.text, body).await;
    let call = simulator.bill().generations.pop().expect("a call");
    assert_eq!(answer.header("x-generation-id"), Some(call.id.as_str()));
    (answer, call)
}

fn prompt(body: &Value) -> u64 {
    body.to_string().len() as u64 / 4
}

#[tokio::test]
async fn embeddings() {
    let body = json!({"model": "openai/text-embedding-3-small", "input": ["one", "two", "three"]});
    let (answer, call) = billed("/api/v1/embeddings", &body).await;
    let mut shown = answer.json();
    let data = shown["data"].take();
    let vectors: Vec<_> =
        data.as_array().expect("data").iter().map(|v| (v["index"].clone(), v["embedding"].is_array())).collect();
    assert_eq!(vectors, [(json!(0), true), (json!(1), true), (json!(2), true)]);
    let cost = Pico(20_011) * prompt(&body);
    assert_eq!((call.cost, call.status), (cost, Status::Complete));
    let details = json!({"upstream_inference_cost": cost.to_json(), "upstream_inference_prompt_cost": cost.to_json(),
        "upstream_inference_completions_cost": 0});
    let usage = json!({"prompt_tokens": prompt(&body), "total_tokens": prompt(&body), "cost": cost.to_json(),
        "is_byok": false, "cost_details": details});
    let expected = json!({"id": call.id, "object": "list", "model": "openai/text-embedding-3-small",
        "provider": "OpenAI", "data": null, "usage": usage});
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn rerank_is_billed_by_the_hundred_documents() {
    for (documents, searches) in [(1, 1), (100, 1), (101, 2)] {
        let body = json!({"model": "cohere/rerank-v3.5", "query": "soup", "documents": vec!["a"; documents]});
        let (answer, call) = billed("/api/v1/rerank", &body).await;
        let cost = Pico(2_000_000_003) * searches;
        let usage = json!({"search_units": searches, "total_tokens": prompt(&body), "cost": cost.to_json()});
        assert_eq!((call.cost, &answer.json()["usage"]), (cost, &usage));
        assert_eq!(answer.json()["results"].as_array().map(Vec::len), Some(documents));
    }
}

#[tokio::test]
async fn decisions_outside_and_inside_of_v1() {
    for (path, body, place) in [
        ("/api/alpha/decisions", json!({"model": "typesafe/decider-1", "messages": []}), "decision"),
        ("/api/v1/systemone", json!({"model": "typesafe/decider-1", "input": "soup or pie?"}), "output"),
    ] {
        let (answer, call) = billed(path, &body).await;
        let cost = Pico(70_001) * prompt(&body) + Pico(700_003);
        let usage = json!({"input_tokens": prompt(&body), "output_tokens": 1, "cost": cost.to_json()});
        assert_eq!((call.cost, &answer.json()["usage"]), (cost, &usage), "{path}");
        assert_eq!(answer.json()[place]["label"], "dessert", "{path}");
    }
}

#[tokio::test]
async fn images_as_json_and_as_a_stream() {
    let mut body = json!({"model": "google/gemini-2.5-flash-image", "prompt": "a bowl of soup", "n": 2});
    let (answer, call) = billed("/api/v1/images", &body).await;
    let cost = Pico(300_007) * prompt(&body) + Pico(38_700_000_013) * 2;
    assert_eq!(call.cost, cost);
    let json = answer.json();
    assert_eq!((&json["usage"]["cost"], &json["usage"]["is_byok"]), (&cost.to_json(), &json!(false)));
    assert_eq!((&json["id"], &json["created"]), (&json!(call.id), &json!(1_795_608_000)));
    let pictures = json["data"].as_array().expect("pictures");
    assert!(
        pictures.len() == 2 && pictures.iter().all(|p| p["b64_json"].is_string() && p["media_type"] == "image/png")
    );

    body["stream"] = true.into();
    let (answer, call) = billed("/api/v1/images", &body).await;
    let [partial, completed] = <[Value; 2]>::try_from(answer.events()).expect("two events");
    assert_eq!(partial["type"], "image_generation.partial_image");
    assert_eq!(completed["type"], "image_generation.completed");
    assert_eq!((&partial["usage"], &completed["usage"]["cost"]), (&Value::Null, &call.cost.to_json()));
    assert!(answer.text().ends_with("\n\ndata: [DONE]\n\n"));
}

#[tokio::test]
async fn transcriptions_of_json_and_of_forms() {
    let form = "--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nopenai/whisper-1\r\n--x\r\n\
                Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n--x--\r\n";
    let body = json!({"model": "openai/whisper-1", "input_audio": {"data": "UklGRg==", "format": "wav"}}).to_string();
    for (content_type, body) in [("application/json", body.as_str()), ("multipart/form-data; boundary=x", form)] {
        let (simulator, key) = simulator().await;
        let bearer = format!("Bearer {}", key.text);
        let headers = [("authorization", bearer.as_str()), ("content-type", content_type)];
        let mut client = Client::connect(simulator.addr()).await;
        let answer = client.request("POST", "/api/v1/audio/transcriptions", &headers, body.as_bytes()).await;
        let milliseconds = body.len() as u64 / 16;
        let cost = Pico(3_315) * milliseconds;
        let prompt = body.len() / 4;
        let usage = json!({"seconds": milliseconds as f64 / 1000.0, "input_tokens": prompt, "output_tokens": 6,
            "total_tokens": prompt + 6, "cost": cost.to_json()});
        assert_eq!(answer.json(), json!({"text": "Bring a dish. Brüder, bringt Brot.", "usage": usage}));
        assert_eq!(simulator.bill().total, cost, "{content_type}");
        assert!(answer.header("x-generation-id").is_some_and(|id| id.starts_with("gen-stt-")));
    }
}

#[tokio::test]
async fn speech_shows_its_cost_nowhere() {
    let body = json!({"model": "openai/gpt-4o-mini-tts", "input": "zwölf"});
    let (answer, call) = billed("/api/v1/audio/speech", &body).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("audio/mpeg")));
    assert!(call.id.starts_with("gen-tts-"), "{}", call.id);
    assert_eq!(call.cost, Pico(15_000_019) * 5, "five characters");
    assert_eq!((answer.chunks.len(), answer.header("transfer-encoding")), (5, Some("chunked")));
    let audio = answer.body();
    assert!(audio.starts_with(b"ID3") && String::from_utf8(audio.clone()).is_err() && audio.len() >= 4096);
    assert!(memchr::memmem::find(&audio, b"cost").is_none());
    assert!(answer.headers.iter().all(|(name, _)| !name.contains("cost")));
}

#[tokio::test]
async fn videos_are_billed_when_they_are_done() {
    for (absolute, origin) in [(false, ""), (true, "https://openrouter.ai")] {
        let (simulator, key) = simulator().await;
        let (sibling, stranger) = (simulator.make_key(key.account, Default::default()), simulator.funded_key(usd("1")));
        let play = Play { absolute_polling: Some(absolute), polls: Some(2), ..Play::default() };
        simulator.script(Script::next(play));
        let body = json!({"model": "google/veo-3.1", "prompt": "soup", "duration": 5});
        let answer = post(&simulator, "/api/v1/videos", &key.text, &body).await;
        let submitted = answer.json();
        let id = submitted["id"].as_str().expect("an id");
        let path = format!("/api/v1/videos/{id}");
        let (generation, url) = (submitted["generation_id"].clone(), format!("{origin}{path}"));
        let expected = json!({"id": id, "generation_id": generation, "polling_url": url, "status": "pending"});
        assert_eq!((answer.status, &submitted), (202, &expected));
        assert_eq!(generation.as_str(), answer.header("x-generation-id"));

        for key in [&key, &sibling] {
            assert_eq!(get(&simulator, &format!("{path}/content"), &key.text).await.status, 404);
            let polled = get(&simulator, &path, &key.text).await.json();
            assert_eq!(polled, json!({"id": id, "polling_url": url, "status": "in_progress"}));
        }
        assert_eq!((simulator.bill().total, simulator.bill().running), (Pico::ZERO, 1));

        let cost = Pico(400_000_000_007) * 5;
        for _ in 0..2 {
            let done = get(&simulator, &path, &key.text).await.json();
            let expected = json!({"id": id, "generation_id": generation, "polling_url": url, "status": "completed",
                "unsigned_urls": [format!("{url}/content?index=0")],
                "usage": {"cost": cost.to_json(), "is_byok": false}});
            assert_eq!(done, expected);
            assert_eq!((simulator.bill().total, simulator.bill().running), (cost, 0), "billed once");
        }
        let content = get(&simulator, &format!("{path}/content?index=0"), &sibling.text).await;
        assert_eq!((content.status, content.header("content-type")), (200, Some("video/mp4")));
        for path in [path.clone(), format!("{path}/content"), "/api/v1/videos/nothing".to_owned()] {
            let refused = get(&simulator, &path, &stranger.text).await;
            assert_eq!(refused.status, 404);
            assert_eq!(refused.json()["user_id"], json!(simulator.user_id(stranger.account)), "{path}");
        }
        assert_eq!(get(&simulator, &path, "sk-or-v1-nobody").await.status, 401);
    }
}

#[tokio::test]
async fn a_video_that_was_fetched_is_billed() {
    let (simulator, key) = simulator().await;
    let body = json!({"model": "sim/play?polls=0&cost=0.5", "prompt": "soup"});
    let submitted = post(&simulator, "/api/v1/videos", &key.text, &body).await.json();
    let path = format!("/api/v1/videos/{}/content", submitted["id"].as_str().expect("an id"));
    assert_eq!(get(&simulator, &path, &key.text).await.status, 200);
    assert_eq!((simulator.bill().total, simulator.bill().running), (usd("0.5"), 0));
}

#[tokio::test]
async fn videos_that_fail_are_not_billed() {
    let (simulator, key) = simulator().await;
    let body = json!({"model": "sim/play?error=502&inside=0&polls=0", "prompt": "soup"});
    let submitted = post(&simulator, "/api/v1/videos", &key.text, &body).await.json();
    let path = format!("/api/v1/videos/{}", submitted["id"].as_str().expect("an id"));
    let polled = get(&simulator, &path, &key.text).await.json();
    assert_eq!((&polled["status"], &polled["error"]), (&json!("failed"), &json!("Provider returned error")));
    assert_eq!(polled.get("usage"), None);
    assert_eq!(get(&simulator, &format!("{path}/content"), &key.text).await.status, 404);
    let call = last_call(&simulator).await;
    assert_eq!((call.status, call.cost), (Status::Failed, Pico::ZERO));
}

#[tokio::test]
async fn all_of_them_give_errors_inside_a_200_and_cost_nothing_then() {
    let (simulator, key) = simulator().await;
    for (path, body) in [
        ("/api/v1/embeddings", json!({"input": "soup"})),
        ("/api/v1/rerank", json!({"query": "soup", "documents": ["a"]})),
        ("/api/v1/systemone", json!({"input": "soup"})),
        ("/api/alpha/decisions", json!({"input": "soup"})),
        ("/api/v1/images", json!({"prompt": "soup"})),
        ("/api/v1/images", json!({"prompt": "soup", "stream": true})),
        ("/api/v1/audio/transcriptions", json!({"input_audio": {}})),
    ] {
        let mut body = body;
        body["model"] = "sim/play?error=502&inside=0".into();
        let answer = post(&simulator, path, &key.text, &body).await;
        let stream = body["stream"] == true;
        let document = if stream { answer.events().remove(0) } else { answer.json() };
        assert_eq!((answer.status, &document["error"]["code"]), (200, &json!(502)), "{path}");
        assert_eq!(document["error"]["metadata"]["provider_name"], "Simulated", "{path}");
        assert!(document.get("usage").is_none(), "{path}");
    }
    assert_eq!(simulator.bill().total, Pico::ZERO);
}
