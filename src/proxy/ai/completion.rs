//! A body of `POST /api/ai/completion`: read, and written again in the upstream's words. Pure.
//!
//! What is not known here is passed on as it was written, to the digit.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::clients::routing::{Features, ends};
use crate::upstream::{BadRequest, BodyFault, Members, list, members, string};

/// Tools whose names are looked at.
const TOOLS_MAX: usize = 64;
/// Longest name of a tool that is looked at, in bytes.
const TOOL_NAME_MAX_BYTES: usize = 64;

/// A completion asked for.
pub(super) struct Completion<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
    model: Option<Cow<'a, str>>,
    category: Option<Cow<'a, str>>,
    messages: Vec<Message<'a>>,
}

/// A message, taken apart once: it may hold megabytes.
struct Message<'a> {
    role: Cow<'a, str>,
    content: Option<&'a RawValue>,
}

impl<'a> Completion<'a> {
    /// Take a body apart; `known` says which categories there are.
    ///
    /// # Errors
    /// [`BadRequest`] names the field and the reason.
    pub(super) fn read(body: &'a [u8], known: &dyn Fn(&str) -> bool) -> Result<Self, BadRequest> {
        let mut members = members(body)?;
        members.retain(|(name, value)| !(is_ours(name) && value.get() == "null"));
        let mut completion = Self { members, model: None, category: None, messages: Vec::new() };
        completion.messages = completion.read_messages()?;
        completion.check_numbers()?;
        completion.model = completion.text("model")?;
        let named = completion.alternative("category", "requestType")?;
        completion.category = named.map(|name| completion.text(name)).transpose()?.flatten();
        if let (Some(field), Some(category)) = (named, &completion.category)
            && !known(category)
        {
            return Err(BadRequest::new(field, BodyFault::NoCategory));
        }
        Ok(completion)
    }

    /// The model it names.
    pub(super) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The category it names.
    pub(super) fn category(&self) -> Option<&str> {
        self.category.as_deref()
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.members.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    /// The one of two names for the same thing that was used.
    fn alternative(&self, name: &'static str, alias: &'static str) -> Result<Option<&'static str>, BadRequest> {
        match (self.get(name), self.get(alias)) {
            (Some(_), Some(_)) => Err(BadRequest::new(alias, BodyFault::Beside(name))),
            (Some(_), None) => Ok(Some(name)),
            (None, Some(_)) => Ok(Some(alias)),
            (None, None) => Ok(None),
        }
    }

    fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, BadRequest> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text = string(Some(value)).filter(|text| !text.is_empty());
        text.map(Some).ok_or_else(|| BadRequest::new(name, BodyFault::Expected("a text that is not empty")))
    }

    fn read_messages(&self) -> Result<Vec<Message<'a>>, BadRequest> {
        match self.alternative("messages", "prompt")? {
            None => Err(BadRequest::new("messages", BodyFault::Missing("messages or prompt"))),
            Some("prompt") => self.text("prompt").map(|_| Vec::new()),
            Some(_) => {
                let messages = list(self.get("messages"));
                if messages.is_empty() {
                    return Err(BadRequest::new("messages", BodyFault::Expected("a list of messages, not empty")));
                }
                messages.into_iter().enumerate().map(|(at, message)| Message::read(at, message)).collect()
            }
        }
    }

    fn check_numbers(&self) -> Result<(), BadRequest> {
        if let Some(name) = self.alternative("max_tokens", "maxTokens")? {
            let tokens = self.get(name).and_then(|value| value.get().parse::<u64>().ok());
            if tokens.is_none_or(|tokens| tokens == 0) {
                return Err(BadRequest::new(name, BodyFault::Expected("a whole number above 0")));
            }
        }
        if let Some(value) = self.get("temperature") {
            let degree = serde_json::from_str::<f64>(value.get()).ok();
            if !degree.is_some_and(|degree| (0.0..=2.0).contains(&degree)) {
                return Err(BadRequest::new("temperature", BodyFault::Expected("a number from 0 to 2")));
            }
        }
        if self.get("stream").is_some_and(|value| !["true", "false"].contains(&value.get())) {
            return Err(BadRequest::new("stream", BodyFault::Expected("true or false")));
        }
        Ok(())
    }

    /// The same in the words of `chat/completions`, for `model`.
    pub(super) fn upstream_body(&self, model: &str) -> Vec<u8> {
        let bytes: usize = self.members.iter().map(|(name, value)| name.len() + value.get().len() + 8).sum();
        let mut out = String::with_capacity(bytes + model.len() + 64);
        out.push_str("{\"model\":");
        out.push_str(&quoted(model));
        for (name, value) in &self.members {
            let (name, before, after) = match &**name {
                "model" | "category" | "requestType" => continue,
                "maxTokens" => ("max_tokens", "", ""),
                "prompt" => ("messages", "[{\"role\":\"user\",\"content\":", "}]"),
                name => (name, "", ""),
            };
            out.push(',');
            out.push_str(&quoted(name));
            out.push(':');
            out.push_str(before);
            out.push_str(value.get());
            out.push_str(after);
        }
        out.push('}');
        out.into_bytes()
    }

    /// What the router looks at.
    pub(super) fn features(&self) -> Features {
        let mut features = Features::default();
        match string(self.get("prompt")) {
            Some(prompt) => {
                features.text = ends(&prompt);
                features.bytes = prompt.len() as u64;
            }
            None => read_features(&self.messages, &mut features),
        }
        let tools = list(self.get("tools")).into_iter().take(TOOLS_MAX);
        features.tools = tools.filter_map(tool_name).collect();
        features.forced_tool = self.get("tool_choice").is_some_and(|choice| {
            choice.get().starts_with('{') || (choice.get() == "\"required\"" && features.tools.len() == 1)
        });
        features.structured = self.get("response_format").is_some_and(|format| {
            member(format, "type").and_then(|kind| string(Some(kind))).is_some_and(|kind| kind.starts_with("json"))
        });
        features
    }
}

/// Members that are read here; `null` counts as absent. Of all others the upstream thinks what it likes.
fn is_ours(name: &str) -> bool {
    let ours = "model category requestType messages prompt max_tokens maxTokens temperature stream";
    ours.split(' ').any(|known| known == name)
}

impl<'a> Message<'a> {
    fn read(at: usize, message: &'a RawValue) -> Result<Self, BadRequest> {
        let Ok(Members(members)) = serde_json::from_str(message.get()) else {
            return Err(BadRequest::new(&format!("messages[{at}]"), BodyFault::Expected("an object")));
        };
        let (mut role, mut content) = (None, None);
        for (name, value) in members {
            match &*name {
                "role" => role = string(Some(value)).filter(|role| !role.is_empty()),
                "content" => content = Some(value),
                _ => {}
            }
        }
        let fault =
            || BadRequest::new(&format!("messages[{at}].role"), BodyFault::Expected("a text that is not empty"));
        Ok(Self { role: role.ok_or_else(fault)?, content })
    }
}

fn read_features(messages: &[Message<'_>], features: &mut Features) {
    for Message { role, content } in messages {
        let Some(content) = content else { continue };
        let is_wanted = matches!(&**role, "user" | "system" | "developer");
        let text = read_content(content, is_wanted, features);
        match &**role {
            "user" => {
                features.earlier_code |= features.text.contains("```");
                features.text = ends(&text);
            }
            "system" | "developer" if features.system.is_empty() => features.system = ends(&text),
            _ => features.earlier_code |= content.get().contains("```"),
        }
    }
}

/// The text of a message where it is wanted; pictures and sizes are counted in any case.
fn read_content(content: &RawValue, is_wanted: bool, features: &mut Features) -> String {
    let mut text = String::new();
    if content.get().starts_with('"') {
        features.bytes += content.get().len() as u64 - 2;
        if is_wanted {
            text.push_str(&string(Some(content)).unwrap_or_default());
        }
        return text;
    }
    for part in list(Some(content)) {
        let kind = member(part, "type").and_then(|kind| string(Some(kind))).unwrap_or_default();
        if kind.contains("image") {
            features.images = features.images.saturating_add(1);
        } else if let Some(part) = member(part, "text") {
            features.bytes += part.get().len() as u64;
            if is_wanted {
                text.push_str(&string(Some(part)).unwrap_or_default());
                text.push('\n');
            }
        }
    }
    text
}

fn tool_name(tool: &RawValue) -> Option<String> {
    let named = member(tool, "function").unwrap_or(tool);
    let name = string(Some(member(named, "name")?))?;
    (name.len() <= TOOL_NAME_MAX_BYTES).then(|| name.into_owned())
}

fn member<'a>(object: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    let Members(members) = serde_json::from_str(object.get()).ok()?;
    members.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(body: &str) -> Result<Completion<'_>, BadRequest> {
        Completion::read(body.as_bytes(), &|name| name == "coding")
    }

    #[test]
    fn every_fault_names_its_field() {
        for (body, field) in [
            ("", "body"),
            ("[]", "body"),
            ("{\"prompt\":\"x\"", "body"),
            ("{}", "messages"),
            (r#"{"messages":null}"#, "messages"),
            (r#"{"messages":[]}"#, "messages"),
            (r#"{"messages":"hi"}"#, "messages"),
            (r#"{"messages":[{"role":"user","content":"x"},3]}"#, "messages[1]"),
            (r#"{"messages":[{"content":"x"}]}"#, "messages[0].role"),
            (r#"{"messages":[{"role":"user","content":"x"}],"prompt":"y"}"#, "prompt"),
            (r#"{"prompt":""}"#, "prompt"),
            (r#"{"prompt":["x"]}"#, "prompt"),
            (r#"{"prompt":"x","prompt":"y"}"#, "prompt"),
            (r#"{"prompt":"x","model":7}"#, "model"),
            (r#"{"prompt":"x","model":""}"#, "model"),
            (r#"{"prompt":"x","category":"weaving"}"#, "category"),
            (r#"{"prompt":"x","category":["coding"]}"#, "category"),
            (r#"{"prompt":"x","requestType":"weaving"}"#, "requestType"),
            (r#"{"prompt":"x","category":"coding","requestType":"coding"}"#, "requestType"),
            (r#"{"prompt":"x","maxTokens":0}"#, "maxTokens"),
            (r#"{"prompt":"x","maxTokens":"5"}"#, "maxTokens"),
            (r#"{"prompt":"x","max_tokens":1.5}"#, "max_tokens"),
            (r#"{"prompt":"x","max_tokens":5,"maxTokens":5}"#, "maxTokens"),
            (r#"{"prompt":"x","temperature":"hot"}"#, "temperature"),
            (r#"{"prompt":"x","temperature":2.1}"#, "temperature"),
            (r#"{"prompt":"x","stream":1}"#, "stream"),
        ] {
            let bad = read(body).err().unwrap_or_else(|| panic!("{body} is accepted"));
            assert_eq!(&*bad.field, field, "{body}");
        }
    }

    #[test]
    fn the_rest_passes_to_the_digit() {
        let body = r#"{"prompt":"a \u00e9","requestType":"coding","maxTokens":7,"seed":12345678901234567890123,
            "top_p":1.0e-0,"model":null,"x":{"b":1,"a":[ 2 ]},"stop":null}"#;
        let completion = read(body).expect("good");
        assert_eq!((completion.model(), completion.category()), (None, Some("coding")));
        let up = String::from_utf8(completion.upstream_body("a/\"b\"")).expect("text");
        let expected = r#"{"model":"a/\"b\"","messages":[{"role":"user","content":"a \u00e9"}],"max_tokens":7,"seed":12345678901234567890123,"top_p":1.0e-0,"x":{"b":1,"a":[ 2 ]},"stop":null}"#;
        assert_eq!(up, expected);
    }

    #[test]
    fn features_are_read_from_messages() {
        let data = "A".repeat(1000);
        let body = json!({
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "```x```"},
                {"role": "assistant", "content": null, "tool_calls": []},
                {"role": "user", "content": [
                    {"type": "text", "text": "what is this?"},
                    {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{data}")}},
                ]},
            ],
            "tools": [{"type": "function", "function": {"name": "read_file"}}, {"type": "web"}],
            "tool_choice": "required",
            "response_format": {"type": "json_schema"},
        })
        .to_string();
        let features = read(&body).expect("good").features();
        assert_eq!((&*features.text, &*features.system), ("what is this?\n", "be brief"));
        assert!(features.earlier_code && features.forced_tool && features.structured);
        assert_eq!((features.images, features.tools), (1, vec!["read_file".to_owned()]));
        assert!(features.bytes < 100, "pictures are no text");
    }

    proptest::proptest! {
        #[test]
        fn what_goes_up_is_json(prompt in "\\PC{0,40}", name in "[a-z\"\\\\]{1,8}", value in "\\PC{0,20}") {
            let mut body = json!({"prompt": format!("x{prompt}")});
            body[format!("_{name}")] = Value::from(value);
            let text = body.to_string();
            let up = read(&text).expect("good").upstream_body("a/b");
            let mut read: Value = serde_json::from_slice(&up).expect("JSON");
            proptest::prop_assert_eq!(read["messages"][0]["content"].take(), body["prompt"].take());
        }
    }
}
