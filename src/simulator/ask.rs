//! What a request asks for: read from its body as far as the answer and the bill need it.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::api::Api;
use super::errors::{self, Refusal};

/// One inference request.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The endpoint.
    pub api: Api,
    /// The model named, without its `?…` part.
    pub model: String,
    /// The part of the model's name after `?`.
    pub query: Option<String>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Prompt tokens: the body's bytes by four, at least one.
    pub prompt_tokens: u64,
    /// Output tokens at most.
    pub max_tokens: Option<u64>,
    /// Units of what is not text: pictures, seconds, characters, documents, inputs.
    pub units: u64,
    /// Whether the prompt tries an injection.
    pub injection: bool,
    /// Charge all that the rules allow.
    pub greed: Option<Greed>,
}

/// What a greedy play charges for.
#[derive(Clone, Copy, Debug)]
pub struct Greed {
    /// Output tokens of all answers together.
    pub output_tokens: u64,
    /// Pictures in the prompt.
    pub pictures: u64,
    /// Whether the prompt is cached for an hour.
    pub hour: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    model: Option<String>,
    models: Option<Vec<String>>,
    stream: Option<bool>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    max_output_tokens: Option<u64>,
    messages: Option<Vec<IgnoredAny>>,
    prompt: Option<Value>,
    input: Option<Value>,
    query: Option<IgnoredAny>,
    documents: Option<Vec<IgnoredAny>>,
    input_audio: Option<IgnoredAny>,
    n: Option<u64>,
    duration: Option<u64>,
    store: Option<bool>,
    previous_response_id: Option<Value>,
}

impl Ask {
    /// Read it.
    pub fn read(api: Api, content_type: &str, body: &[u8]) -> Result<Self, Refusal> {
        let fields = if content_type.starts_with("multipart/form-data") {
            Body { model: form_field(body, "model"), input_audio: Some(IgnoredAny), ..Body::default() }
        } else {
            serde_json::from_slice(body).map_err(|error| errors::unreadable(&error.to_string()))?
        };
        fields.check(api)?;
        let named = fields.model.clone().or_else(|| fields.models.as_ref()?.first().cloned());
        let named = named.unwrap_or_else(|| "openrouter/auto".to_owned());
        let (model, query) = match named.split_once('?') {
            Some((model, query)) => (model.to_owned(), Some(query.to_owned())),
            None => (named, None),
        };
        Ok(Self {
            api,
            model,
            query,
            stream: fields.stream == Some(true),
            prompt_tokens: (body.len() as u64 / 4).max(1),
            max_tokens: fields.max_tokens.or(fields.max_completion_tokens).or(fields.max_output_tokens),
            units: fields.units(api, body.len() as u64),
            injection: has_injection(body),
            greed: None,
        })
    }
}

impl Body {
    fn check(&self, api: Api) -> Result<(), Refusal> {
        let complete = match api {
            Api::Chat | Api::Cursor | Api::Completions => self.messages.is_some() || self.prompt.is_some(),
            Api::Messages => self.messages.is_some(),
            Api::Responses | Api::Embeddings | Api::Speech | Api::SystemOne => self.input.is_some(),
            Api::Decisions => self.input.is_some() || self.messages.is_some(),
            Api::Rerank => self.query.is_some() && self.documents.is_some(),
            Api::Images | Api::Videos => self.prompt.is_some(),
            Api::Transcriptions => self.input_audio.is_some(),
        };
        if !complete {
            return Err(errors::no_input());
        }
        if api == Api::Responses && self.store == Some(true) {
            return Err(errors::not_stateless("store"));
        }
        if api == Api::Responses && self.previous_response_id.as_ref().is_some_and(|id| !id.is_null()) {
            return Err(errors::not_stateless("previous_response_id"));
        }
        Ok(())
    }

    fn units(&self, api: Api, length: u64) -> u64 {
        let several = |value: &Value| value.as_array().map_or(1, Vec::len) as u64;
        match api {
            Api::Images => self.n.unwrap_or(1),
            Api::Videos => self.duration.unwrap_or(8),
            Api::Speech => self.input.as_ref().and_then(Value::as_str).map_or(1, |text| text.chars().count() as u64),
            // Sixteen bytes a millisecond, as of PCM at 8 kHz.
            Api::Transcriptions => (length / 16).max(1),
            Api::Embeddings => self.input.as_ref().map_or(1, several),
            Api::Rerank => self.documents.as_ref().map_or(1, Vec::len) as u64,
            _ => 0,
        }
    }
}

/// A text field of a multipart form.
fn form_field(body: &[u8], name: &str) -> Option<String> {
    let marker = format!("name=\"{name}\"\r\n");
    let start = memchr::memmem::find(body, marker.as_bytes())? + marker.len();
    let rest = body.get(start..)?;
    let rest = rest.get(memchr::memmem::find(rest, b"\r\n")? + 2..)?;
    let end = memchr::memmem::find(rest, b"\r\n")?;
    Some(String::from_utf8_lossy(rest.get(..end)?).into_owned())
}

fn has_injection(body: &[u8]) -> bool {
    memchr::memmem::find(body, b"ignore all previous instructions").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read() {
        let ask = |api, body: &str| Ask::read(api, "application/json", body.as_bytes());
        let chat =
            ask(Api::Chat, r#"{"model":"sim/play?cost=0","stream":true,"max_tokens":9,"messages":[{}]}"#).unwrap();
        assert_eq!((chat.model.as_str(), chat.query.as_deref()), ("sim/play", Some("cost=0")));
        assert_eq!((chat.stream, chat.max_tokens, chat.prompt_tokens), (true, Some(9), 18));
        assert_eq!(ask(Api::Images, r#"{"prompt":"a cat","n":3}"#).unwrap().units, 3);
        assert_eq!(ask(Api::Speech, r#"{"input":"zwölf"}"#).unwrap().units, 5);
        for (api, body) in [
            (Api::Chat, "{}"),
            (Api::Chat, "[]"),
            (Api::Chat, r#"{"messages":"hello"}"#),
            (Api::Responses, r#"{"input":"x","store":true}"#),
            (Api::Responses, r#"{"input":"x","previous_response_id":"gen-1"}"#),
            (Api::Rerank, r#"{"query":"x"}"#),
        ] {
            assert_eq!(ask(api, body).unwrap_err().status, 400, "{body}");
        }
    }

    #[test]
    fn forms_are_read() {
        let body = "--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nopenai/whisper-1\r\n--x\r\n\
                    Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n--x--\r\n";
        let ask = Ask::read(Api::Transcriptions, "multipart/form-data; boundary=x", body.as_bytes()).unwrap();
        assert_eq!(ask.model, "openai/whisper-1");
    }
}
