//! Everything that can be asked of a potluck, and what it gave.

use std::sync::Mutex;

use potluck::simulator::{
    AccountSettings, KeySettings, Pico, Play, Script, SimKey, Simulator, SimulatorConfig, SimulatorHandle, error_names,
};
use serde_json::json;

use super::binary::Binary;
use super::{CLIENT, COOKIE, STRAY, TOKEN, WRONG_TOKEN};
use crate::support::{Answer, Ask, Wire};

const CHAT: &str = "/api/v1/chat/completions";

/// What came out so far: where, and every byte of it.
#[derive(Default)]
pub struct Seen {
    pub by_clients: Mutex<Vec<(String, Vec<u8>)>>,
    pub by_operators: Mutex<Vec<(String, Vec<u8>)>>,
}

impl Seen {
    fn client(&self, what: &str, answer: &Answer) {
        self.by_clients.lock().unwrap().push((what.to_owned(), answer.everything().into_bytes()));
    }

    fn operator(&self, what: &str, answer: &Answer) {
        self.by_operators.lock().unwrap().push((what.to_owned(), answer.everything().into_bytes()));
    }
}

/// The upstream, the program in front of it, and what came out of it.
pub struct Scene {
    pub sim: SimulatorHandle,
    pub keys: Vec<SimKey>,
    pub potluck: Binary,
    pub seen: Seen,
    /// A client key, and a token for it.
    pub client: [String; 2],
}

impl Scene {
    pub async fn set() -> Self {
        let sim = Simulator::start(SimulatorConfig::default()).await.unwrap();
        let keys: Vec<SimKey> = (0..3).map(|_| sim.funded_key(Pico::usd(10))).collect();
        let texts: Vec<String> = keys.iter().map(|key| key.text.clone()).collect();
        let potluck = Binary::start(&sim.base_url(), &texts, TOKEN).await;
        // The one answer that holds a client's key, and the one that holds a token.
        let added = potluck.operate(Ask::post("/clients", json!({"name": "ann"}).to_string()), TOKEN).await.json();
        let key = added["key"].as_str().unwrap().to_owned();
        let issued = Ask::post("/auth/token", json!({"apiKey": key}).to_string()).send(potluck.proxy).await.json();
        let token = issued["token"].as_str().unwrap().to_owned();
        Self { sim, keys, potluck, seen: Seen::default(), client: [key, token] }
    }

    /// A client's request, with credentials of its own that are none of anybody's business.
    async fn ask(&self, what: &str, ask: Ask) -> Answer {
        let ask = ask
            .header("authorization", &format!("Bearer {CLIENT}"))
            .header("x-api-key", CLIENT)
            .header("cookie", &format!("session={COOKIE}"));
        let answer = ask.send(self.potluck.proxy).await;
        self.seen.client(what, &answer);
        answer
    }

    async fn operate(&self, what: &str, ask: Ask) -> Answer {
        let answer = self.potluck.operate(ask, TOKEN).await;
        self.seen.operator(what, &answer);
        answer
    }

    /// Whatever a refusal has made of the keys: they are well again.
    async fn heal(&self) {
        for key in &self.keys {
            let said = json!({"key": key.text, "status": "healthy"}).to_string();
            let answer = self.operate("health", Ask::post("/health/openrouter", said)).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }

    /// Every refusal there is, before and inside an answer, in every dialect.
    pub async fn every_error(&self) {
        let turn = json!([{"role": "user", "content": "hello"}]);
        for name in error_names() {
            for options in ["full_metadata=true", "inside=0", "inside=2"] {
                let model = format!("sim/echo?error={name}&{options}");
                for stream in [false, true] {
                    let body = json!({"model": model, "stream": stream, "max_tokens": 99, "messages": turn});
                    let responses = json!({"model": model, "stream": stream, "input": "hello"});
                    let what = |dialect: &str| format!("{dialect} {name} {options} {stream}");
                    self.ask(&what("chat"), Ask::post(CHAT, body.to_string())).await;
                    if !stream {
                        self.ask(&what("messages"), Ask::post("/api/v1/messages", body.to_string())).await;
                        self.ask(&what("responses"), Ask::post("/api/v1/responses", responses.to_string())).await;
                    }
                }
                self.heal().await;
            }
        }
    }

    /// Answers of the upstream that are no HTTP, or too much of it, and quote what they were sent.
    pub async fn upstream_garbage(&self) {
        let quoted = self.keys.iter().map(|key| format!("{} {}", key.text, self.sim.user_id(key.account).unwrap()));
        let quoted = quoted.collect::<Vec<_>>().join(" ");
        let bare = quoted.replace("sk-or-v1-", "");
        for raw in [
            format!("HTTP/1.1 nonsense {quoted}\r\n\r\n"),
            format!("{bare}\r\n\r\n"),
            format!("HTTP/1.1 200 OK\r\nno colon here {bare}\r\n\r\n"),
            format!("HTTP/1.1 200 OK\r\n{}: {bare}\r\nbad name : x\r\n\r\n", "x".repeat(30)),
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{bare}\r\n"),
            format!("HTTP/1.1 302 Found\r\nLocation: https://evil.test/{bare}\r\nContent-Length: 0\r\n\r\n"),
            format!("HTTP/1.1 400 Bad\r\nX-Echo: {quoted}\r\nWarning: 199 {bare}\r\nContent-Length: 2\r\n\r\n{{}}"),
            format!("HTTP/1.1 500 No\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{bare}", bare.len()),
        ] {
            self.sim.script(Script::next(Play { raw: Some(raw.clone()), ..Play::default() }));
            let body = json!({"model": "sim/echo", "messages": []}).to_string();
            self.ask(&format!("garbage {}", &raw[..20]), Ask::post(CHAT, body)).await;
        }
        self.sim.clear_scripts();
        self.heal().await;
    }

    /// Requests that are refused, with credentials in places where they do not belong.
    pub async fn bad_requests(&self) {
        let pooled = &self.keys[0].text;
        for target in
            ["/api/v1/key", "/api/v1/credits", "/api/v1/auth/key", "/api/v1/models", "/api/v1/keys", "/nowhere"]
        {
            self.ask(target, Ask::get(target)).await;
            self.ask(target, Ask::get(&format!("{target}?key={CLIENT}&api_key={STRAY}"))).await;
        }
        for body in ["", "{", "[]", "null", "{\"model\":7}", "{\"model\":\"nobody/nothing\",\"messages\":[]}"] {
            for path in [CHAT, "/api/v1/messages", "/api/v1/responses", "/api/v1/messages/count_tokens"] {
                self.ask(body, Ask::post(path, body)).await;
            }
        }
        for head in [
            format!("POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer {STRAY}\r\n\r\n"),
            format!("POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {CLIENT}\r\n\0 {pooled}\r\n\r\n"),
            format!("{CLIENT} {STRAY}\r\n\r\n"),
            format!("GET /{STRAY} HTTP/1.1\r\nHost: {CLIENT}\r\nCookie: {COOKIE}\r\nContent-Length: x\r\n\r\n"),
            format!("POST {CHAT} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{STRAY}\r\n"),
        ] {
            for (listener, seen) in
                [(self.potluck.proxy, &self.seen.by_clients), (self.potluck.admin, &self.seen.by_operators)]
            {
                let mut wire = Wire::connect(listener).await;
                wire.write(head.as_bytes()).await;
                let answer = wire.until_closed().await;
                seen.lock().unwrap().push((format!("a bad head {head:?}"), answer));
            }
        }
    }

    /// A client key and a token, where they belong and where they do not.
    pub async fn clients(&self) {
        let chat = || Ask::post(CHAT, json!({"model": "sim/echo", "messages": []}).to_string());
        for credential in &self.client {
            let bearer = format!("Bearer {credential}");
            for bearer in [&bearer, &bearer[..bearer.len() - 2], &format!("{bearer}00"), &format!("Basic {credential}")]
            {
                for ask in
                    [chat().header("authorization", bearer), Ask::get("/v1/models").header("x-api-key", &bearer[7..])]
                {
                    self.seen.client("a client's request", &ask.send(self.potluck.proxy).await);
                }
            }
            for ask in [
                Ask::get(&format!("/v1/models?key={credential}")),
                Ask::get(&format!("/v1/{credential}")),
                Ask::post("/auth/token", json!({"apiKey": &credential[..credential.len() - 1]}).to_string()),
                Ask::post("/auth/token", json!({"apiKey": credential, "userId": 7}).to_string()),
                Ask::post("/auth/token", format!("{{\"apiKey\":\"{credential}")),
                chat().header("authorization", &bearer).header("x-api-key", &self.client[0]),
            ] {
                self.seen.client("a client's slip", &ask.send(self.potluck.proxy).await);
            }
            for body in [json!({"name": credential}), json!({"name": "x", "note": credential}), json!({credential: 1})]
            {
                self.operate("a wrong client", Ask::post("/clients", body.to_string())).await;
                self.operate("a wrong change", Ask::post("/clients/c1", body.to_string()).method("PATCH")).await;
            }
            for path in ["/clients", "/clients/c1", &format!("/clients/{credential}")] {
                self.operate("clients", Ask::get(path)).await;
            }
            let answer = self.potluck.operate(Ask::get("/clients"), credential).await;
            assert_eq!(answer.status, 401);
            self.seen.operator("a client's credential", &answer);
        }
        self.operate("a change", Ask::post("/clients/c1", json!({"note": "x"}).to_string()).method("PATCH")).await;
        self.operate("a rotation", Ask::post("/tokens/rotate", "{}")).await;
        self.operate("a revocation", Ask::post("/clients/c1", "{}").method("DELETE")).await;
    }

    /// Admin calls, right and wrong in every way.
    pub async fn admin_calls(&self) {
        let (pooled, spare) = (&self.keys[0].text, self.sim.funded_key(Pico::usd(1)).text);
        let account = self.sim.open_account(AccountSettings::default());
        let settings = |edit: fn(&mut KeySettings)| {
            let mut settings = KeySettings::default();
            edit(&mut settings);
            self.sim.make_key(account, settings).text
        };
        let (manager, disabled) = (settings(|s| s.management = true), settings(|s| s.disabled = true));
        let post = |body: String| Ask::post("/keys/openrouter", body);
        let of = |key: &str| json!({"key": key, "label": "a label", "donorName": "a donor"}).to_string();
        for key in [pooled, &spare, &manager, &disabled, STRAY, CLIENT, &STRAY[..20], &format!("{pooled}\u{e9}")] {
            self.operate("donate", post(of(key))).await;
            self.operate("doubly", post(of(key))).await;
            self.operate("health", Ask::post("/health/openrouter", json!({"key": key, "status": key}).to_string()))
                .await;
            let mut remove = Ask::post("/keys/openrouter", json!({"key": key, "id": key}).to_string());
            remove = remove.method("DELETE");
            self.operate("remove", remove).await;
            for body in [
                json!({"key": [key]}),
                json!({key: key}),
                json!({"key": {"a": key}}),
                json!([key]),
                json!({"key": key, "label": 7}),
                json!({"key": key, "limit": key}),
                json!(key),
            ] {
                self.operate("a wrong body", post(body.to_string())).await;
            }
            self.operate("cut", post(format!("{{\"key\":\"{key}"))).await;
            self.operate("twice", post(format!("{{\"key\":\"{key}\",\"key\":\"{key}\"}}"))).await;
            self.operate("in the path", Ask::get(&format!("/keys/{}", key.trim_end_matches('\u{e9}')))).await;
            self.operate("in the query", Ask::get(&format!("/keys?key={}", key.trim_end_matches('\u{e9}')))).await;
        }
        self.operate("remove", Ask::post("/keys/openrouter", json!({"key": spare}).to_string()).method("DELETE")).await;
        for wrong in [WRONG_TOKEN, &TOKEN[..20], pooled] {
            let answer = self.potluck.operate(Ask::get("/keys"), wrong).await;
            assert_eq!(answer.status, 401);
            self.seen.operator("a wrong token", &answer);
        }
        for ask in [
            Ask::get("/status").header("origin", &format!("https://{CLIENT}.test")),
            Ask::post("/keys/openrouter", of(STRAY)).header("content-type", CLIENT),
            Ask::post("/keys/openrouter", format!("{{\"key\":\"{}\"}}", STRAY.repeat(2000))),
            Ask::get(&format!("/status?token={TOKEN}")),
        ] {
            self.operate("a wrong call", ask).await;
        }
    }

    pub async fn reports(&self) {
        for path in ["/metrics", "/status", "/keys", "/clients", "/clients/c1", "/health", "/ready", "/openapi.json"] {
            let answer = self.operate(path, Ask::get(path)).await;
            assert_eq!(answer.status, 200, "{path}");
        }
    }
}
