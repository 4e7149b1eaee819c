//! Tests of looking for media.

use proptest::prelude::*;
use serde_json::Value;

use super::super::growth::has_escapes;
use super::super::skeleton::skeleton;
use super::*;

fn found(body: &str) -> Media {
    let (skeleton, escaped) = (skeleton(body.as_bytes()), has_escapes(body.as_bytes()));
    let body = Body::read(&skeleton.text).unwrap_or_else(|bad| panic!("{bad}: {body}"));
    media(&body, &skeleton, escaped)
}

fn in_user_message(parts: &str) -> Media {
    found(&format!(r#"{{"messages":[{{"role":"user","content":[{parts}]}}]}}"#))
}

/// A data URL of that many bytes.
fn url(bytes: usize) -> String {
    format!("data:image/png;base64,{}", "A".repeat(bytes - 22))
}

const ELSEWHERE: Media = Media { images: 0, image_bytes: 0, audio: false, files: false, elsewhere: true };

#[test]
fn texts_are_texts() {
    for body in [
        r#"{"messages":[{"role":"user","content":"an image_url, a file and data:image/png;base64,AAAA"}]}"#,
        r#"{"messages":[{"role":"system","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}]}]}"#,
        r#"{"messages":[{"role":"assistant","content":null,"audio":null,"tool_calls":[{"type":"function","function":{"arguments":"{\"type\":\"file\"}"}}]},{"role":"tool","content":"x"}]}"#,
        r#"{"messages":[{"role":"assistant","content":[{"type":"tool_use","input":{"type":"image","source":{"data":"x"}}}]},{"role":"user","content":[{"type":"tool_result","content":[{"type":"text","text":"x"}]}]}]}"#,
        r#"{"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"x"}]},{"type":"function_call","name":"f"},{"type":"function_call_output","output":"x"},{"type":"reasoning","summary":[{"type":"summary_text"}],"encrypted_content":"x"}]}"#,
        r#"{"messages":[{"role":"user","content":"half a pair: \ud83d"}],"system":"x"}"#,
        r#"{"input":["a","b"]}"#,
        r#"{"input":[[1,2,3e999],[4]]}"#,
        r#"{"tools":[{"type":"function","function":{"parameters":{"enum":[{"type":"image_url","image_url":{"url":"data:image/png;base64,A"}}]}}}]}"#,
    ] {
        assert_eq!(found(body), Media::default(), "{body}");
    }
}

#[test]
fn inline_pictures_are_counted_and_not_taken_for_text() {
    let big = url(9000);
    // The beginning of a long text stays, and counts as text.
    let one = Media { images: 1, image_bytes: 9000 - 1024, ..Media::default() };
    for part in [
        format!(r#"{{"type":"image_url","image_url":{{"url":"{big}","detail":"high"}}}}"#),
        format!(r#"{{"image_url":{{"url":"{big}"}},"type":"image_url"}}"#),
        format!(r#"{{"type":"input_image","image_url":"{big}","detail":"auto"}}"#),
        format!(
            r#"{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{}"}}}}"#,
            "A".repeat(9000)
        ),
        format!(r#"{{"type":"tool_result","content":[{{"type":"image_url","image_url":{{"url":"{big}"}}}}]}}"#),
    ] {
        assert_eq!(in_user_message(&part), one, "{part}");
        let two = in_user_message(&format!("{part},{{\"type\":\"text\",\"text\":\"{}\"}},{part}", "x".repeat(5000)));
        assert_eq!((two.images, two.image_bytes), (2, 2 * one.image_bytes));
    }
    let small = in_user_message(r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}"#);
    assert_eq!(small, Media { images: 1, ..Media::default() });
}

#[test]
fn a_picture_that_may_be_read_as_text_is_not_taken_off() {
    let big = url(9000);
    let picture = format!(r#"{{"type":"image_url","image_url":{{"url":"{big}"}}}}"#);
    for body in [
        format!(r#"{{"messages":[{{"role":"tool","content":[{picture}]}}]}}"#),
        format!(r#"{{"messages":[{{"content":[{picture}],"role":"assistant"}}]}}"#),
        format!(r#"{{"messages":[{{"role":"user","role":"tool","content":[{picture}]}}]}}"#),
        format!(r#"{{"input":[{{"type":"function_call_output","output":[{picture}]}}]}}"#),
    ] {
        assert!(found(&body).elsewhere, "{body}");
    }
    for part in [
        // Two readers, two pictures: or none, and a text.
        format!(r#"{{"type":"image_url","type":"text","image_url":{{"url":"{big}"}}}}"#),
        format!(r#"{{"type":"text","text":"x","image_url":{{"url":"{big}"}}}}"#),
        format!(r#"{{"type":"image_url","image_url":{{"url":"{big}"}},"source":"{big}"}}"#),
        format!(r#"{{"type":"image_url","image_url":{{"url":"{big}","url":"{big}"}}}}"#),
        // No pixels.
        r#"{"type":"image_url","image_url":{"url":"data:image/svg+xml;base64,AAAA"}}"#.into(),
        r#"{"type":"image_url","image_url":{"url":"data:text/plain;base64,AAAA"}}"#.into(),
        r#"{"type":"image","source":{"type":"base64","media_type":"text/plain","data":"AAAA"}}"#.into(),
        r#"{"type":"image","source":{"type":"text","media_type":"image/png","data":"AAAA"}}"#.into(),
        r#"{"type":"image_url"}"#.into(),
    ] {
        let media = in_user_message(&part);
        assert!(media.elsewhere && media.image_bytes == 0, "{part}: {media:?}");
    }
}

#[test]
fn what_lies_elsewhere_is_told() {
    for part in [
        r#"{"type":"video_url","video_url":{"url":"data:video/mp4;base64,AAAA"}}"#,
        r#"{"type":"something_new","url":"https://example.com"}"#,
        r#"{"source":{"type":"url","url":"https://example.com"}}"#,
        r#"{"type":"\u0076ideo_url"}"#,
        r#"{"type":7}"#,
        r#"{"type":"server_tool_use"}"#,
    ] {
        assert_eq!(in_user_message(part), ELSEWHERE, "{part}");
    }
    let remote = r#"{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}"#;
    assert_eq!(in_user_message(remote), Media { images: 1, ..ELSEWHERE });
    let sound = r#"{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}"#;
    assert_eq!(in_user_message(sound), Media { audio: true, ..ELSEWHERE });
    for file in [
        r#"{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,AAAA"}}"#,
        r#"{"type":"input_file","file_url":"https://example.com"}"#,
        r#"{"type":"document","source":{"type":"url","url":"https://example.com"}}"#,
    ] {
        assert_eq!(in_user_message(file), Media { files: true, ..ELSEWHERE }, "{file}");
    }
    let annotated =
        r#"{"messages":[{"role":"assistant","content":"x","annotations":[{"type":"file","file":{"hash":"x"}}]}]}"#;
    assert_eq!(found(annotated), Media { files: true, ..ELSEWHERE });
    assert_eq!(found(r#"{"messages":[{"role":"assistant","audio":{"id":"audio_1"}}]}"#), ELSEWHERE);
    assert_eq!(found(r#"{"input":[{"type":"item_reference","id":"x"}]}"#), ELSEWHERE);
    let deep = format!(r#"{{"messages":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    assert_eq!(found(&deep), Media { audio: true, files: true, ..ELSEWHERE });
}

fn anything() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(
        &[
            "type",
            "image_url",
            "file",
            "audio",
            "text",
            "content",
            "role",
            "user",
            "\"type\"",
            "ty\u{1}pe",
            "\u{e9}",
            "x",
        ][..],
    );
    let leaf = prop_oneof![Just(Value::Null), any::<u8>().prop_map(Value::from), word.clone().prop_map(Value::from)];
    leaf.prop_recursive(20, 60, 3, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..3)
                .prop_map(|m| Value::Object(m.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn what_is_not_taken_apart_holds_text_only(value in anything()) {
        let text = value.to_string();
        let value: &RawValue = serde_json::from_str(&text).expect("JSON");
        let (mut media, skeleton) = (Media::default(), skeleton(text.as_bytes()));
        Look { media: &mut media, skeleton: &skeleton, depth: 0 }.at(value);
        let looked_at = has_escapes(text.as_bytes()) || may_hold_more(value);
        prop_assert!(looked_at || media == Media::default(), "{} holds {:?}", text, media);
    }
}
