//! What a token is good for, and what no token is.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_795_521_600);

fn key(id: u32) -> SigningKey {
    SigningKey::new(SigningKeyId(id), &[id as u8; 32], None)
}

fn ring(id: u32) -> Keyring {
    Keyring::new(vec![key(id)]).expect("a key that signs")
}

fn claims(user: Option<&str>) -> Claims {
    let expires_at = NOW.after(Duration::from_secs(60));
    Claims {
        client: ClientId(7),
        user: user.map(|name| ClientUser { id: UserId(3), name: name.into() }),
        issued_at: NOW,
        expires_at,
    }
}

fn verify(ring: &Keyring, text: &str, now: Timestamp) -> Result<Claims, Rejection> {
    ring.verify(Token(text.as_bytes()), now)
}

fn parts(token: &Secret) -> [String; 3] {
    let parts: Vec<String> = token.expose().split('.').map(str::to_owned).collect();
    parts.try_into().expect("three parts")
}

#[test]
fn a_token_says_what_was_signed_until_it_is_over() {
    for user in [None, Some("ann"), Some("\u{e9} \"quoted\" \\ \u{1f372}")] {
        let token = ring(1).sign(&claims(user)).expect("signed");
        assert!(is_claimed_by(token.expose().as_bytes()));
        let last = NOW.after(Duration::from_millis(59_999));
        assert_eq!(verify(&ring(1), token.expose(), last), Ok(claims(user)));
        let over = NOW.after(Duration::from_secs(60));
        assert_eq!(verify(&ring(1), token.expose(), over), Err(Rejection::Expired));
        assert_eq!(verify(&ring(2), token.expose(), NOW), Err(Rejection::Unknown));
        // The same number, another secret.
        let other = Keyring::new(vec![SigningKey::new(SigningKeyId(1), &[9; 32], None)]).expect("a ring");
        assert_eq!(verify(&other, token.expose(), NOW), Err(Rejection::Unknown));
        assert!(!format!("{:?} {:?}", ring(1), Token(token.expose().as_bytes())).contains("eyJ"));
    }
}

#[test]
fn the_longest_token_is_short_enough_to_be_one() {
    let user = "\u{1f372}".repeat(USER_MAX_CHARS);
    assert!(is_user_id(&user) && !is_user_id(&format!("{user}x")));
    let escaped = "\"".repeat(USER_MAX_CHARS);
    for user in [user, escaped] {
        let token = ring(u32::MAX).sign(&Claims { client: ClientId(u32::MAX), ..claims(Some(&user)) }).expect("signed");
        assert!(is_claimed_by(token.expose().as_bytes()), "{} bytes", token.expose().len());
    }
    for bad in ["", "a\nb", "\u{0}"] {
        assert!(!is_user_id(bad), "{bad:?}");
    }
}

#[test]
fn other_algorithms_and_claims_do_not_pass() {
    let ring = ring(1);
    let good = parts(&ring.sign(&claims(None)).expect("signed"));
    let coded = |json: &str| URL_SAFE_NO_PAD.encode(json);
    for alg in ["none", "None", "HS384", "RS256", "EdDSA"] {
        let header = coded(&format!(r#"{{"typ":"JWT","alg":"{alg}","kid":"ptl-1"}}"#));
        for signature in ["", &good[2]] {
            assert!(verify(&ring, &format!("{header}.{}.{signature}", good[1]), NOW).is_err(), "{alg}");
        }
    }
    let forged = coded(r#"{"sub":1,"iat":1795521600,"exp":9795521600}"#);
    assert_eq!(verify(&ring, &format!("{}.{forged}.{}", good[0], good[2]), NOW), Err(Rejection::Unknown));
    assert_eq!(verify(&ring, &format!("{}.{}.", good[0], good[1]), NOW), Err(Rejection::Unknown));
    // Signed by the right key, but no token of ours.
    let sign = |claims: &serde_json::Value| {
        let header = Header { kid: Some("ptl-1".to_owned()), ..Header::new(Algorithm::HS256) };
        encode(&header, claims, &key(1).signing).expect("signed")
    };
    for odd in [
        serde_json::json!({"sub": 1, "iat": 1}),
        serde_json::json!({"sub": "1", "iat": 1, "exp": 9_795_521_600_i64}),
        serde_json::json!({"sub": 1, "iat": 1, "exp": 9_795_521_600_i64, "admin": true}),
        serde_json::json!({"sub": 1, "iat": 1, "exp": "9795521600"}),
        serde_json::json!([]),
    ] {
        assert_eq!(verify(&ring, &sign(&odd), NOW), Err(Rejection::Unknown), "{odd}");
    }
}

#[test]
fn a_retired_key_verifies_until_its_tokens_are_over_and_signs_no_more() {
    let first = ring(1);
    let token = first.sign(&claims(None)).expect("signed");
    let second = first.rotated(key(2), NOW, false);
    assert_eq!(verify(&second, token.expose(), NOW), Ok(claims(None)));
    assert_eq!(key_id(second.sign(&claims(None)).expect("signed").expose().as_bytes()).as_deref(), Some("ptl-2"));
    let long_after = NOW.after(Keyring::LIFE_MAX);
    let third = second.rotated(key(3), long_after, false);
    assert_eq!(third.ids().collect::<Vec<_>>(), [SigningKeyId(2), SigningKeyId(3)]);
    let ended = second.rotated(key(3), NOW, true);
    assert_eq!(verify(&ended, token.expose(), NOW), Err(Rejection::Unknown));
    assert_eq!(ended.ids().collect::<Vec<_>>(), [SigningKeyId(3)]);
}

#[test]
fn retired_keys_are_bounded() {
    let mut ring = ring(1);
    for id in 2..=17 {
        assert!(ring.has_room(NOW, false));
        ring = ring.rotated(key(id), NOW, false);
    }
    assert!(
        !ring.has_room(NOW, false) && ring.has_room(NOW, true) && ring.has_room(NOW.after(Keyring::LIFE_MAX), false)
    );
    assert!(Keyring::new(Vec::new()).is_none());
}

#[test]
fn other_services_tokens_are_none_of_ours() {
    let coded = |json: &str| URL_SAFE_NO_PAD.encode(json);
    for header in [r#"{"alg":"HS256","typ":"JWT"}"#, r#"{"alg":"RS256","kid":"1"}"#, r#"{"alg":"HS256","kid":"PTL-1"}"#]
    {
        assert!(!is_claimed_by(format!("{}.e30.c2ln", coded(header)).as_bytes()), "{header}");
    }
    let long = format!("{}.{}.c2ln", coded(r#"{"alg":"HS256","kid":"ptl-1"}"#), "A".repeat(TOKEN_MAX_BYTES));
    assert!(!is_claimed_by(long.as_bytes()) && is_claimed_by(long.replace("AAAA", "").as_bytes()));
}

proptest! {
    #[test]
    fn no_changed_byte_is_accepted(at in 0_usize..200, byte: u8) {
        let ring = ring(1);
        let token = ring.sign(&claims(Some("ann"))).expect("signed");
        let mut text = token.expose().as_bytes().to_vec();
        let at = at % text.len();
        prop_assume!(text[at] != byte);
        text[at] = byte;
        prop_assert!(ring.verify(Token(&text), NOW).is_err());
    }

    #[test]
    fn no_input_panics(text: Vec<u8>, middle: String) {
        let ring = ring(1);
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{middle}"}}"#));
        for text in [text.clone(), [header.as_bytes(), b".", &text, b".", middle.as_bytes()].concat()] {
            is_claimed_by(&text);
            prop_assert!(ring.verify(Token(&text), NOW).is_err());
        }
    }
}
