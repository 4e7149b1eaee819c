//! Answers as they look on the wire (`openrouter-api.md` sections 3, 4 and 12), and what must be read out of them.

use crate::money::{Cost, GenerationId, Tokens, Usd};
use crate::upstream::{BodyShape, Endpoint, ErrorCode, InsideError, Reading};

use BodyShape::{EventStream, Json};
use Endpoint::{ChatCompletions, Messages, Responses};

pub(super) struct Fixture {
    pub(super) name: &'static str,
    pub(super) endpoint: Endpoint,
    pub(super) shape: BodyShape,
    pub(super) body: Vec<u8>,
    pub(super) expected: Reading,
}

/// A reading under construction; starts complete and without any figure.
#[derive(Clone)]
struct Read(Reading);

fn read() -> Read {
    Read(Reading { complete: true, ..Reading::unread() })
}

impl Read {
    fn cost(mut self, pico: i64) -> Self {
        self.0.cost = Cost::Known(Usd::from_pico(pico));
        self
    }
    fn byok(mut self, pico: i64) -> Self {
        self.0.byok = Some(Usd::from_pico(pico));
        self
    }
    fn id(mut self, id: &str) -> Self {
        self.0.generation = GenerationId::parse(id.as_bytes());
        self
    }
    fn model(mut self, model: &str) -> Self {
        self.0.model = Some(model.into());
        self
    }
    fn tokens(mut self, prompt: u64, completion: u64) -> Self {
        self.0.tokens = Tokens { prompt: Some(prompt), completion: Some(completion), ..self.0.tokens };
        self
    }
    fn prompt(mut self, prompt: u64) -> Self {
        self.0.tokens.prompt = Some(prompt);
        self
    }
    fn cached(mut self, cached: u64) -> Self {
        self.0.tokens.cached = Some(cached);
        self
    }
    fn reasoning(mut self, reasoning: u64) -> Self {
        self.0.tokens.reasoning = Some(reasoning);
        self
    }
    fn cut(mut self) -> Self {
        self.0.complete = false;
        self
    }
    fn error(mut self, error: InsideError) -> Self {
        self.0.error = Some(error);
        self
    }
}

fn error(code: Option<ErrorCode>, message: &str) -> InsideError {
    InsideError { code, message: message.into(), ..InsideError::default() }
}

fn status(code: u16) -> Option<ErrorCode> {
    Some(ErrorCode::Status(code))
}

fn code_name(name: &str) -> Option<ErrorCode> {
    Some(ErrorCode::Name(name.into()))
}

const CHAT_USAGE: &str = r#"{"prompt_tokens":1200,"completion_tokens":34,"total_tokens":1234,"cost":0.00492,"is_byok":false,"prompt_tokens_details":{"cached_tokens":1024,"cache_write_tokens":0,"audio_tokens":0,"video_tokens":0},"cost_details":{"upstream_inference_cost":0.00492,"upstream_inference_prompt_cost":0.004,"upstream_inference_completions_cost":0.00092},"completion_tokens_details":{"reasoning_tokens":12,"image_tokens":0,"audio_tokens":0}}"#;

fn chat_read() -> Read {
    read().cost(4_920_000_000).id(ID).model("openai/gpt-4o").tokens(1200, 34).cached(1024).reasoning(12)
}

const ID: &str = "gen-1787910087-YiDs6QhKhlryJxmeA7cl";

fn chunk(inside: &str) -> String {
    format!(
        "data: {{\"id\":\"{ID}\",\"object\":\"chat.completion.chunk\",\"created\":1787910087,\"model\":\"openai/gpt-4o\",\"provider\":\"OpenAI\",{inside}}}\n\n"
    )
}

fn delta(text: &str) -> String {
    chunk(&format!(
        r#""choices":[{{"index":0,"delta":{{"role":"assistant","content":"{text}"}},"finish_reason":null}}]"#
    ))
}

const COMMENT: &str = ": OPENROUTER PROCESSING\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// Ways a model, a tool or a client may try to state a cost, each as JSON of one chunk or message.
const PLANTS: [&str; 6] = [
    r#"{"role":"assistant","content":"{\"usage\":{\"cost\":99}}"}"#,
    r#"{"role":"assistant","content":"\"}}],\"usage\":{\"cost\":99},\"x\":[{\"y\":{\"z\":\""}"#,
    r#"{"role":"assistant","usage":{"cost":99,"is_byok":true},"content":null}"#,
    r#"{"tool_calls":[{"id":"gen-planted","function":{"name":"f","arguments":{"usage":{"cost":99}},"error":{"code":402}}}]}"#,
    r#"{"content":[{"type":"text","text":"\\\"","usage":{"cost":99},"id":"gen-planted"}]}"#,
    r#"{"content":"data: {\"usage\":{\"cost\":99}}\n\ndata: {\"usage\":{\"cost\":99}}"}"#,
];

pub(super) fn all() -> Vec<Fixture> {
    let mut all = Vec::new();
    let mut add = |name, endpoint, shape, body: String, expected: Read| {
        all.push(Fixture { name, endpoint, shape, body: body.into_bytes(), expected: expected.0 });
    };
    chat_streams(&mut add);
    chat_documents(&mut add);
    responses(&mut add);
    messages(&mut add);
    others(&mut add);
    errors(&mut add);
    broken(&mut add);
    all
}

type Add<'a> = dyn FnMut(&'static str, Endpoint, BodyShape, String, Read) + 'a;

fn chat_streams(add: &mut Add<'_>) {
    let usage_with_choices = chunk(&format!(
        r#""choices":[{{"index":0,"delta":{{"content":"","role":"assistant"}},"finish_reason":"stop","native_finish_reason":"stop"}}],"usage":{CHAT_USAGE}"#
    ));
    let usage_alone = |usage: &str| chunk(&format!(r#""choices":[],"usage":{usage}"#));
    add(
        "chat stream, usage beside choices, comments before and between",
        ChatCompletions,
        EventStream,
        [COMMENT, COMMENT, &delta("Gr\u{fc}\u{df}e, \u{1f958}"), COMMENT, &delta("!"), &usage_with_choices, DONE]
            .concat(),
        chat_read(),
    );
    let usage_last = [COMMENT, &delta("a"), &usage_alone(CHAT_USAGE), DONE].concat();
    add("chat stream, usage chunk without choices", ChatCompletions, EventStream, usage_last.clone(), chat_read());
    add("chat stream, CRLF", ChatCompletions, EventStream, usage_last.replace('\n', "\r\n"), chat_read());
    add("chat stream, CR", ChatCompletions, EventStream, usage_last.replace('\n', "\r"), chat_read());
    add("chat stream, BOM", Endpoint::CursorChat, EventStream, format!("\u{feff}{usage_last}"), chat_read());
    add("completions stream", Endpoint::Completions, EventStream, usage_last.clone(), chat_read());
    let in_lines =
        usage_last.replace("\"usage\":{", "\ndata: \"usage\":\ndata:{").replace(",\"cost\"", "\ndata:,\"cost\"");
    add("chat stream, data over several lines", ChatCompletions, EventStream, in_lines, chat_read());
    add(
        "chat stream, echo of the upstream body first",
        ChatCompletions,
        EventStream,
        [&chunk(r#""choices":[],"debug":{"echo_upstream_body":{"usage":{"cost":99}}}"#), &usage_last]
            .map(|s| &**s)
            .concat(),
        chat_read(),
    );
    let bare = read().id(ID).model("openai/gpt-4o");
    for (name, cost, expected) in [
        ("chat stream, exponent", "7.669e-7", bare.clone().cost(766_900)),
        ("chat stream, capital exponent", "3E-7", bare.clone().cost(300_000)),
        ("chat stream, zero", "0", bare.clone().cost(0)),
        ("chat stream, null", "null", bare.clone()),
        ("chat stream, negative", "-0.5", bare.clone()),
        ("chat stream, string", "\"0.5\"", bare.clone()),
        ("chat stream, object", "{\"cost\":1}", bare.clone()),
        ("chat stream, list", "[1]", bare.clone()),
        ("chat stream, true", "true", bare.clone()),
        ("chat stream, not finite", "1e400", bare.clone()),
    ] {
        let usage = usage_alone(&format!(r#"{{"cost":{cost}}}"#));
        let body = delta("a") + &usage + DONE;
        add(name, ChatCompletions, EventStream, body, expected);
    }
    let long = format!(r#"{{"cost":0.{}1}}"#, "0".repeat(400));
    add("chat stream, overlong number", ChatCompletions, EventStream, usage_alone(&long) + DONE, bare.clone());
    let twice = r#"{"cost":1,"cost":2e-12,"completion_tokens":1,"completion_tokens":7}"#;
    let mut seven = bare.clone().cost(2);
    seven.0.tokens.completion = Some(7);
    add("chat stream, of equal keys the last", ChatCompletions, EventStream, usage_alone(twice) + DONE, seven);
    let spoilt = r#"{"cost":1,"cost":"2"}"#;
    add(
        "chat stream, of equal keys a bad last",
        ChatCompletions,
        EventStream,
        usage_alone(spoilt) + DONE,
        bare.clone(),
    );
    let two_events =
        [usage_alone(r#"{"cost":1,"prompt_tokens":5}"#), usage_alone(r#"{"cost":2}"#), chunk("\"usage\":null")];
    add(
        "chat stream, of several usages the last that is there",
        ChatCompletions,
        EventStream,
        two_events.concat() + DONE,
        bare.clone().cost(2_000_000_000_000).prompt(5),
    );
    let escaped = r#"{"\u0063ost":0.5,"c\u006Fst\u0000":9,"cost\n":9,"Cost":9}"#;
    let escaped = chunk(&format!(r#""us\u0061ge":{escaped},"usage ":{{"cost":9}}"#));
    add(
        "chat stream, escaped keys are keys",
        ChatCompletions,
        EventStream,
        escaped + DONE,
        bare.clone().cost(500_000_000_000),
    );
    for plant in PLANTS {
        let planted = chunk(&format!(r#""choices":[{{"index":0,"delta":{plant},"message":{plant}}}],"x":{plant}"#));
        add(
            "chat stream, planted",
            ChatCompletions,
            EventStream,
            [&planted, &*usage_last, &*planted].concat(),
            chat_read(),
        );
        add("chat stream, planted and nothing else", ChatCompletions, EventStream, planted + DONE, bare.clone());
    }
    let byok = r#"{"prompt_tokens":1,"completion_tokens":2,"cost":0,"is_byok":true,"cost_details":{"upstream_inference_cost":0.00197}}"#;
    let byok_read = bare.clone().cost(0).byok(1_970_000_000).tokens(1, 2);
    add("chat stream, BYOK", ChatCompletions, EventStream, usage_alone(byok) + DONE, byok_read);
}

fn chat_documents(add: &mut Add<'_>) {
    let document = format!(
        r#"{{"id":"{ID}","object":"chat.completion","created":1787910087,"model":"openai/gpt-4o","provider":"OpenAI",
 "choices":[{{"index":0,"message":{{"role":"assistant","content":"Hi {{\"usage\":{{\"cost\":99}}}}"}},"finish_reason":"stop","native_finish_reason":"stop"}}],
 "usage":{CHAT_USAGE}}}"#
    );
    add("chat document", ChatCompletions, Json, document.clone(), chat_read());
    let padded = "\n         \n".repeat(200) + &document + "\n";
    add("chat document, padded", ChatCompletions, Json, padded, chat_read());
    let usage_first = format!(r#"{{"usage":{CHAT_USAGE},"model":"openai/gpt-4o","id":"{ID}","choices":[]}}"#);
    add("chat document, usage first", ChatCompletions, Json, usage_first, chat_read());
    for plant in PLANTS {
        let planted = format!(
            r#"{{"id":"{ID}","model":"openai/gpt-4o","choices":[{{"message":{plant},"usage":{{"cost":99}}}}],"usage":{CHAT_USAGE},"y":{plant},"z":[{plant}]}}"#
        );
        add("chat document, planted", ChatCompletions, Json, planted, chat_read());
    }
    let deep = format!(
        r#"{{"id":"{ID}","model":"openai/gpt-4o","deep":{}1{},"usage":{CHAT_USAGE}}}"#,
        "[{\"usage\":".repeat(150),
        "}]".repeat(150)
    );
    add("chat document, deep", ChatCompletions, Json, deep, chat_read());
    let byok = r#"{"usage":{"cost_details":{"upstream_inference_cost":0.000088},"is_byok":true,"cost":0.0000044}}"#;
    add("chat document, BYOK", ChatCompletions, Json, byok.into(), read().cost(4_400_000).byok(88_000_000));
    let own = r#"{"usage":{"cost":0.001,"is_byok":false,"cost_details":{"upstream_inference_cost":0.001}}}"#;
    add("chat document, not BYOK: never added", ChatCompletions, Json, own.into(), read().cost(1_000_000_000));
    let replaced = r#"{"usage":{"cost":1,"prompt_tokens":3},"usage":{"completion_tokens":4}}"#;
    let mut four = read();
    four.0.tokens.completion = Some(4);
    add("chat document, usage twice", ChatCompletions, Json, replaced.into(), four);
    add("chat document, usage then null", ChatCompletions, Json, r#"{"usage":{"cost":1},"usage":null}"#.into(), read());
    add("chat document, usage is a list", ChatCompletions, Json, r#"{"usage":[{"cost":1}]}"#.into(), read());
    add("a list", ChatCompletions, Json, r#"[{"usage":{"cost":1}}]"#.into(), read());
    add("a string", ChatCompletions, Json, r#""usage""#.into(), read());
    add(
        "cached answer",
        ChatCompletions,
        Json,
        r#"{"usage":{"prompt_tokens":0,"completion_tokens":0,"cost":0}}"#.into(),
        read().cost(0).tokens(0, 0),
    );
}

const RESPONSES_USAGE: &str = r#"{"input_tokens":9400,"input_tokens_details":{"cached_tokens":9000},"output_tokens":52,"output_tokens_details":{"reasoning_tokens":20},"total_tokens":9452,"cost":0.025706,"is_byok":false,"cost_details":{"upstream_inference_cost":0.025706,"upstream_inference_input_cost":0.02,"upstream_inference_output_cost":0.005706}}"#;

fn responses(add: &mut Add<'_>) {
    let expected =
        read().cost(25_706_000_000).id("gen-resp-1").model("openai/gpt-5").tokens(9400, 52).cached(9000).reasoning(20);
    let created = r#"data: {"type":"response.created","response":{"id":"gen-resp-1","status":"in_progress","model":"openai/gpt-5","error":null,"usage":null,"output":[]},"sequence_number":0}"#.to_string() + "\n\n";
    let item = r#"data: {"type":"response.output_item.done","item":{"id":"gen-planted","type":"function_call","arguments":"{\"usage\":{\"cost\":99}}","response":{"usage":{"cost":99}}},"response_id":"gen-planted"}"#.to_string() + "\n\n";
    let last = |kind: &str, text: &str| {
        format!(
            r#"data: {{"type":"response.{kind}","response":{{"id":"gen-resp-1","model":"openai/gpt-5","output":[{{"type":"message","usage":{{"cost":99}},"content":[{{"type":"output_text","text":"{text}"}}]}}],"error":null,"usage":{RESPONSES_USAGE}}},"sequence_number":145}}"#
        ) + "\n\n"
    };
    let stream = [&*created, ": \n\n", &item, &last("completed", "hi"), DONE].concat();
    add("responses stream", Responses, EventStream, stream, expected.clone());
    let stream = [&*created, &last("incomplete", "hi")].concat();
    add("responses stream, incomplete, no end mark", Responses, EventStream, stream, expected.clone());
    let long = "\\\"usage\\\":{\\\"cost\\\":99}}}} \u{1f958}".repeat(40);
    add(
        "responses stream, long line",
        Responses,
        EventStream,
        created.clone() + &last("completed", &long),
        expected.clone(),
    );
    let document = format!(
        r#"{{"id":"gen-resp-1","object":"response","model":"openai/gpt-5","error":null,"output":[{{"id":"msg_1","response":{{"usage":{{"cost":99}}}}}}],"usage":{RESPONSES_USAGE}}}"#
    );
    add("responses document", Responses, Json, document, expected);
}

fn messages(add: &mut Add<'_>) {
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"gen-msg-1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"anthropic/claude-sonnet-5\",\"provider\":\"Anthropic\",\"stop_reason\":null,\"usage\":{\"input_tokens\":1231,\"cache_creation_input_tokens\":100,\"cache_read_input_tokens\":5000,\"output_tokens\":1}}}\n\n";
    let between = "event: ping\ndata: {\"type\": \"ping\"}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"usage\\\": {\\\"cost\\\": 99\"},\"usage_\":{\"cost\":99}}\n\n";
    let delta = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"usage\":{\"cost\":99}},\"usage\":{\"input_tokens\":1231,\"output_tokens\":21,\"cache_creation_input_tokens\":100,\"cache_read_input_tokens\":5000,\"service_tier\":\"standard\",\"cost\":0.002672,\"is_byok\":false,\"cost_details\":{\"upstream_inference_cost\":0.002672}},\"context_management\":null}\n\n";
    let stop = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let end = "event: data\ndata: [DONE]\n\n";
    let model = "anthropic/claude-sonnet-5";
    let expected = read().cost(2_672_000_000).id("gen-msg-1").model(model).tokens(6331, 21).cached(5000);
    add("messages stream", Messages, EventStream, [start, between, delta, stop, end].concat(), expected.clone());
    add("messages stream, no end mark", Messages, EventStream, [start, delta, stop].concat(), expected.clone());
    add(
        "messages stream, cut before message_stop",
        Messages,
        EventStream,
        [start, between, delta].concat(),
        expected.clone().cut(),
    );
    let begun = read().id("gen-msg-1").model(model).tokens(6331, 1).cached(5000).cut();
    add("messages stream, cut before the cost", Messages, EventStream, [start, between].concat(), begun);
    let document = r#"{"id":"gen-msg-1","type":"message","role":"assistant","model":"anthropic/claude-sonnet-5","content":[{"type":"tool_use","id":"toolu_1","input":{"usage":{"cost":99},"message":{"usage":{"cost":99}}}}],"stop_reason":"tool_use","usage":{"input_tokens":1231,"cache_creation_input_tokens":100,"cache_read_input_tokens":5000,"output_tokens":21,"cost":0.002672}}"#;
    add("messages document", Messages, Json, document.into(), expected);
}

fn others(add: &mut Add<'_>) {
    let embeddings = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.0023,-0.0093,1e-5,-3E-7]}],"model":"openai/text-embedding-3-small","id":"gen-emb-1","usage":{"prompt_tokens":8,"total_tokens":8,"cost":1.6e-7,"is_byok":false,"cost_details":{"upstream_inference_cost":1.6e-7}}}"#;
    let embedded = read().cost(160_000).id("gen-emb-1").model("openai/text-embedding-3-small").prompt(8);
    add("embeddings", Endpoint::Embeddings, Json, embeddings.into(), embedded);
    let rerank = r#"{"id":"gen-rerank-1","model":"cohere/rerank-v3.5","provider":"Cohere","results":[{"index":0,"relevance_score":0.9,"document":{"text":"x","usage":{"cost":99}}}],"usage":{"search_units":1,"total_tokens":150,"cost":0.001}}"#;
    add(
        "rerank",
        Endpoint::Rerank,
        Json,
        rerank.into(),
        read().cost(1_000_000_000).id("gen-rerank-1").model("cohere/rerank-v3.5"),
    );
    let images = format!(
        r#"{{"created":1,"data":[{{"b64_json":"{}"}}],"usage":{{"prompt_tokens":0,"completion_tokens":4175,"total_tokens":4175,"cost":0.04}}}}"#,
        "iVBORw0KGgo".repeat(60)
    );
    add("images document", Endpoint::Images, Json, images, read().cost(40_000_000_000).tokens(0, 4175));
    let image_events = "data: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"aGk=\"}\n\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"aGk=\",\"usage\":{\"cost\":0.04}}\n\ndata: [DONE]\n\n";
    add("images stream", Endpoint::Images, EventStream, image_events.into(), read().cost(40_000_000_000));
    let transcription = r#"{"text":"the usage: {\"cost\": 99}","usage":{"seconds":3.168,"cost":0.0000105,"input_tokens":83,"output_tokens":30}}"#;
    add("transcription", Endpoint::Transcriptions, Json, transcription.into(), read().cost(10_500_000).tokens(83, 30));
    let decisions =
        r#"{"id":"gen-dec-1","decisions":[],"usage":{"input_tokens":12,"output_tokens":3,"cost":0.000012}}"#;
    add(
        "decisions",
        Endpoint::Decisions,
        Json,
        decisions.into(),
        read().cost(12_000_000).id("gen-dec-1").tokens(12, 3),
    );
    add(
        "systemone",
        Endpoint::SystemOne,
        Json,
        decisions.into(),
        read().cost(12_000_000).id("gen-dec-1").tokens(12, 3),
    );
    let submitted =
        r#"{"id":"job-abc","generation_id":"gen-vid-1","polling_url":"/api/v1/videos/job-abc","status":"pending"}"#;
    add("video submitted", Endpoint::Videos, Json, submitted.into(), read().id("gen-vid-1"));
    let polled = r#"{"id":"job-abc","generation_id":"gen-vid-1","status":"completed","unsigned_urls":["x"],"usage":{"cost":0.5,"is_byok":false}}"#;
    add("video completed", Endpoint::Videos, Json, polled.into(), read().cost(500_000_000_000).id("gen-vid-1"));
    let failed = r#"{"id":"job-abc","status":"failed","error":"Provider said no"}"#;
    add("video failed", Endpoint::Videos, Json, failed.into(), read().error(error(None, "Provider said no")));
    add("speech", Endpoint::Speech, BodyShape::Opaque, "\u{0}ID3 \"usage\":{\"cost\":99}".into(), read());
}

fn errors(add: &mut Add<'_>) {
    let bare = read().id("gen-abc123").model("openai/gpt-4o");
    let limited =
        InsideError { error_type: Some("rate_limit_exceeded".into()), ..error(status(429), "Rate limit exceeded") };
    let first = r#"data: {"id":"gen-abc123","object":"chat.completion.chunk","created":1234567890,"model":"openai/gpt-4o","provider":"OpenAI","error":{"code":429,"message":"Rate limit exceeded","metadata":{"error_type":"rate_limit_exceeded"}},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error","error":{"code":500}}]}"#.to_string() + "\n\n";
    add(
        "chat stream, error first",
        ChatCompletions,
        EventStream,
        first.clone(),
        bare.clone().error(limited.clone()).cut(),
    );
    let priced = first.clone() + "data: {\"usage\":{\"cost\":0.001},\"error\":{\"code\":402}}\n\n" + DONE;
    add(
        "chat stream, error and cost: the first error",
        ChatCompletions,
        EventStream,
        priced,
        bare.clone().error(limited).cost(1_000_000_000),
    );
    let named = first.replace("429", "\"server_error\"").replace("Rate limit exceeded", "");
    let named_error =
        InsideError { error_type: Some("rate_limit_exceeded".into()), ..error(code_name("server_error"), "") };
    add(
        "chat stream, error with a name for a code",
        ChatCompletions,
        EventStream,
        named,
        bare.error(named_error).cut(),
    );
    let aborted = "\n         \n\n         \n{\"error\":{\"message\":\"The operation was aborted\",\"code\":504}}";
    add(
        "padded error",
        ChatCompletions,
        Json,
        aborted.into(),
        read().error(error(status(504), "The operation was aborted")),
    );
    let in_choice = r#"{"id":"gen-abc123","choices":[{"index":0,"message":{"content":"half"},"finish_reason":"error","error":{"code":502,"message":"Upstream \"broke\" \u00e9","metadata":{"error_type":"provider_unavailable"}}}],"usage":{"cost":0.1}}"#;
    let broke =
        InsideError { error_type: Some("provider_unavailable".into()), ..error(status(502), "Upstream \"broke\" é") };
    add(
        "error in a choice",
        ChatCompletions,
        Json,
        in_choice.into(),
        read().id("gen-abc123").cost(100_000_000_000).error(broke),
    );
    let credit = r#"{"error":{"code":"402","message":"Insufficient credits. Add more","metadata":{"limit_source":"openrouter_credits","reason":"in_flight_budget_exhausted","previous_errors":[{"code":403,"metadata":{"reason":"planted"}}],"raw":"{\"limit_source\":\"planted\"}"}},"user_id":"user_x"}"#;
    let insufficient = InsideError {
        limit_source: Some("openrouter_credits".into()),
        reason: Some("in_flight_budget_exhausted".into()),
        ..error(status(402), "Insufficient credits. Add more")
    };
    add("error with its source and reason", ChatCompletions, Json, credit.into(), read().error(insufficient));
    for body in [r#"{"error":null}"#, r#"{"error":false}"#, r#"{"error":""}"#, r#"{"error":{"code":1},"error":null}"#] {
        add("no error", ChatCompletions, Json, body.into(), read());
    }
    let long = format!(r#"{{"error":{{"message":"{}"}}}}"#, "é".repeat(5000));
    add(
        "a long message is cut between characters",
        ChatCompletions,
        Json,
        long,
        read().error(error(None, &"é".repeat(100))),
    );

    let failed = r#"data: {"type":"response.failed","error_type":"provider_overloaded","response":{"id":"gen-resp-2","status":"failed","error":{"code":"server_error","message":"Overloaded"},"usage":null}}"#.to_string() + "\n\n";
    let overloaded = InsideError {
        error_type: Some("provider_overloaded".into()),
        ..error(code_name("server_error"), "Overloaded")
    };
    add("responses stream, failed", Responses, EventStream, failed, read().id("gen-resp-2").error(overloaded));
    let unsaid = "data: {\"type\":\"response.failed\",\"response\":{\"error\":null}}\n\n";
    add(
        "responses stream, failed without a reason",
        Responses,
        EventStream,
        unsaid.into(),
        read().error(InsideError::default()),
    );
    let flat =
        r#"data: {"type":"error","code":"rate_limit_exceeded","message":"Slow down","param":null,"sequence_number":3}"#
            .to_string()
            + "\n\n";
    add(
        "responses stream, flat error event",
        Responses,
        EventStream,
        flat,
        read().error(error(code_name("rate_limit_exceeded"), "Slow down")).cut(),
    );
    let nested = r#"data: {"type":"error","error":{"code":502,"message":"Bad"}}"#.to_string() + "\n\n";
    add(
        "responses stream, nested error event",
        Responses,
        EventStream,
        nested,
        read().error(error(status(502), "Bad")).cut(),
    );
    let harmless = r#"data: {"type":"response.note","code":"x","message":"y"}"#.to_string() + "\n\n";
    add("responses stream, a message that is no error", Responses, EventStream, harmless + DONE, read());

    let event = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Busy\",\"error_type\":\"provider_overloaded\"}}\n\n";
    let busy = InsideError {
        kind: Some("overloaded_error".into()),
        error_type: Some("provider_overloaded".into()),
        ..error(None, "Busy")
    };
    add("messages stream, error event", Messages, EventStream, event.into(), read().error(busy.clone()).cut());
    let document = event.trim_start_matches("event: error\ndata: ").trim_end();
    add("messages document, error", Messages, Json, document.into(), read().error(busy));
}

fn broken(add: &mut Add<'_>) {
    let cut = read().cut();
    add("nothing", ChatCompletions, Json, String::new(), cut.clone());
    add("nothing in a stream", ChatCompletions, EventStream, String::new(), cut.clone());
    add("only padding", ChatCompletions, Json, "\n         \n".repeat(3), cut.clone());
    add("only comments", ChatCompletions, EventStream, COMMENT.repeat(3), cut.clone());
    add("HTML", ChatCompletions, Json, "<!DOCTYPE html><p>{\"usage\":{\"cost\":1}}</p>".into(), cut.clone());
    let unclosed = format!(r#"{{"id":"{ID}","model":"openai/gpt-4o","usage":{CHAT_USAGE}"#);
    let known = cut.clone().id(ID).model("openai/gpt-4o");
    add("document cut before its last brace", ChatCompletions, Json, unclosed.clone(), known.clone());
    add("document with a wrong last bracket", ChatCompletions, Json, unclosed.clone() + "]", known.clone());
    add("document with more behind it", ChatCompletions, Json, unclosed.clone() + "} {", known.clone());
    let garbage = format!("data: {unclosed}\n\ndata: nonsense\n\ndata: {{\"usage\":{{\"cost\":1}}]\n\n");
    let good = "data: {\"usage\":{\"cost\":0.25}}\n\n";
    add(
        "broken events, then a good one",
        ChatCompletions,
        EventStream,
        garbage + good,
        known.clone().cost(250_000_000_000),
    );
    add(
        "last event without its blank line",
        ChatCompletions,
        EventStream,
        format!("data: {unclosed}}}"),
        Read(chat_read().cut().0),
    );
    add("last event cut", ChatCompletions, EventStream, format!("data: {unclosed}"), known);
    let split = "data: {\"usage\":{\"co\ndata: st\":1}}\n\n";
    add("a line end inside a string", ChatCompletions, EventStream, split.into(), cut.clone());
    add(
        "mismatched brackets where nobody looks",
        ChatCompletions,
        Json,
        r#"{"x":[{"a":1]},"usage":{"cost":1}}"#.into(),
        cut.clone(),
    );
    add("a missing comma", ChatCompletions, Json, r#"{"x":1 "usage":{"cost":1}}"#.into(), cut.clone());
    add("a missing colon", ChatCompletions, Json, r#"{"usage" {"cost":1}}"#.into(), cut.clone());
    add("a bad escape in a key", ChatCompletions, Json, r#"{"us\qge":{"cost":1},"usage":{"cost":1}}"#.into(), cut);
    let almost = "data: [DONE\n\ndata: [DONE]x\n\ndata: x[DONE]\n\ndata: [ DONE]\n\n";
    add("almost an end mark", ChatCompletions, EventStream, almost.into(), read().cut());
    add("an end mark with a space", ChatCompletions, EventStream, "data: [DONE] \n\n".into(), read());
    add("an end mark without a blank line", ChatCompletions, EventStream, "data: [DONE]".into(), read());
}
