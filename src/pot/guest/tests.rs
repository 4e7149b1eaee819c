//! Who is let in, over a pot whose store is real.

use http::{HeaderMap, HeaderValue, header};

use super::*;
use crate::clients::Terms;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Flags};
use crate::money::ModelGlobs;
use crate::pot::{ClientError, Pot};
use crate::server::Potluck;

const NOON: Timestamp = Timestamp::from_secs(1_795_521_600);
const DAY: Duration = Duration::from_secs(86_400);

struct House {
    pot: Arc<Pot>,
    clock: Clock,
    place: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        Self::at(tempfile::tempdir().expect("a directory"), Clock::manual(NOON))
    }

    fn at(place: tempfile::TempDir, clock: Clock) -> Self {
        let data_dir = place.path().to_string_lossy().into_owned();
        let env = |name: &str| (name == "POTLUCK_DATA_DIR").then(|| data_dir.clone());
        let config = Config::from_parts(None, &env, &Flags::default()).expect("good settings");
        let potluck = Potluck::open_at(config, clock.clone()).expect("potluck opens");
        Self { pot: Arc::clone(potluck.pot()), clock, place }
    }

    fn restart(self) -> Self {
        self.pot.store().close().expect("closed");
        let Self { pot, clock, place } = self;
        drop(pot);
        Self::at(place, clock)
    }

    async fn add(&self, terms: Terms) -> (Secret, ClientId) {
        let (key, view) = self.pot.add_client(terms).await.expect("added");
        (key.text(), view.client.id)
    }

    fn let_in(&self, credential: &str) -> Result<Guest, Turned> {
        self.pot.let_in(&bearer(credential), ClientsMode::Required, None)
    }

    fn why_not(&self, credential: &str) -> Turned {
        self.let_in(credential).expect_err("turned away")
    }

    fn token(&self, key: &Secret, user: Option<&str>) -> Issued {
        let issued = self.pot.issue_token(key.expose().as_bytes(), user.map(Into::into), DAY, None);
        issued.expect("let in").expect("signed")
    }
}

fn bearer(credential: &str) -> HeaderMap {
    let value = HeaderValue::from_str(&format!("Bearer {credential}")).expect("a header");
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

fn named(name: &str) -> Terms {
    Terms { name: name.to_owned(), ..Terms::default() }
}

#[tokio::test]
async fn a_key_opens_from_its_first_to_its_last_moment_also_over_a_restart() {
    let house = House::new();
    let (key, id) = house.add(Terms { expires_at: Some(NOON.after(DAY)), ..named("ann") }).await;
    assert_eq!(house.let_in(key.expose()).expect("let in").client(), Some(id));
    let house = house.restart();
    house.clock.set(NOON.after(DAY).before(Duration::from_millis(1)));
    assert_eq!(house.let_in(key.expose()).expect("let in").client(), Some(id));
    house.clock.set(NOON.after(DAY));
    assert_eq!(house.why_not(key.expose()), Turned::Away(Rejection::Expired));
    house.pot.change_client(id, |terms| terms.expires_at = None).await.expect("changed");
    assert!(house.let_in(key.expose()).is_ok());
    house.pot.revoke_client(id).await.expect("revoked");
    assert_eq!(house.why_not(key.expose()), Turned::Away(Rejection::Unknown));
    let house = house.restart();
    assert_eq!(house.why_not(key.expose()), Turned::Away(Rejection::Unknown));
    assert!(house.pot.clients().is_empty());
    let tombstone = house.pot.client(id).await.expect("its name stays");
    assert_eq!((tombstone.client.terms.name.as_str(), tombstone.standing), ("ann", crate::clients::Standing::Revoked));
    assert!(matches!(house.pot.revoke_client(id).await, Err(ClientError::NotFound)));
    assert!(matches!(house.pot.client(ClientId(9)).await, Err(ClientError::NotFound)));
    let (_, next) = house.add(named("bob")).await;
    assert_eq!(next, ClientId(id.0 + 1), "ids are not given twice");
}

#[tokio::test]
async fn a_token_is_as_good_as_its_key_and_no_longer() {
    let house = House::new();
    let (key, id) = house.add(Terms { expires_at: Some(NOON.after(DAY / 2)), ..named("ann") }).await;
    let issued = house.token(&key, Some("user 1"));
    assert_eq!(issued.expires_in_s, 43_200, "no longer than the key");
    let guest = house.let_in(issued.token.expose()).expect("let in");
    assert_eq!((guest.client(), guest.user.as_deref()), (Some(id), Some("user 1")));
    let other = house.let_in(house.token(&key, None).token.expose()).expect("let in");
    assert_ne!(guest.salt(), other.salt(), "users' conversations are their own");
    house.pot.change_client(id, |terms| terms.expires_at = None).await.expect("changed");
    assert_eq!(house.token(&key, None).expires_in_s, 86_400);
    let house = house.restart();
    assert!(house.let_in(issued.token.expose()).is_ok(), "the signing key is kept");
    house.pot.rotate_signing_key(false).await.expect("rotated");
    assert!(house.let_in(issued.token.expose()).is_ok(), "an old key verifies");
    let house = house.restart();
    assert!(house.let_in(issued.token.expose()).is_ok(), "also after a restart");
    house.clock.set(NOON.after(DAY / 2));
    assert_eq!(house.why_not(issued.token.expose()), Turned::Away(Rejection::Expired));
    let fresh = house.token(&key, None);
    house.pot.rotate_signing_key(true).await.expect("rotated");
    assert_eq!(house.why_not(fresh.token.expose()), Turned::Away(Rejection::Unknown));
    let house = house.restart();
    assert_eq!(house.why_not(fresh.token.expose()), Turned::Away(Rejection::Unknown));
    let last = house.token(&key, None);
    house.pot.revoke_client(id).await.expect("revoked");
    assert_eq!(house.why_not(last.token.expose()), Turned::Away(Rejection::Revoked));
    let refused = house.pot.issue_token(key.expose().as_bytes(), None, DAY, None);
    assert_eq!(refused.expect_err("turned away"), Turned::Away(Rejection::Unknown));
}

#[tokio::test]
async fn where_everybody_is_let_in_a_key_must_still_be_right() {
    let house = House::new();
    let (key, id) = house.add(named("ann")).await;
    let open = |headers: &HeaderMap| house.pot.let_in(headers, ClientsMode::Open, None).map(|guest| guest.client());
    assert_eq!(open(&HeaderMap::new()), Ok(None));
    assert_eq!(open(&bearer("anything")), Ok(None));
    assert_eq!(open(&bearer(key.expose())), Ok(Some(id)));
    assert_eq!(open(&bearer("ptl-anything")), Err(Turned::Away(Rejection::Malformed)));
    let stranger = ClientKey::from_random([7; 32]).text();
    assert_eq!(open(&bearer(stranger.expose())), Err(Turned::Away(Rejection::Unknown)));
    let missing = house.pot.let_in(&HeaderMap::new(), ClientsMode::Required, None);
    assert_eq!(missing.expect_err("turned away"), Turned::Away(Rejection::Missing));
    assert_eq!(house.why_not("sk-or-v1-0011"), Turned::Away(Rejection::Missing));
}

#[tokio::test]
async fn terms_hold_from_the_next_request_on_and_seats_are_given_back() {
    let house = House::new();
    let models = ModelGlobs::new(["openai/*"]);
    let (key, id) = house.add(Terms { models, concurrency: Some(2), ..named("ann") }).await;
    let guest = || house.let_in(key.expose()).expect("let in");
    assert!(guest().may_ask_for(Some("openai/a"), &[]) && !guest().may_ask_for(Some("openai/a"), &["x/y".into()]));
    assert!(!guest().may_ask_for(None, &[]) && Guest::ANONYMOUS.may_ask_for(None, &[]));
    let (one, two) = (guest().seat().expect("room"), guest().seat().expect("room"));
    assert!(guest().seat().is_err());
    assert_eq!(house.pot.clients()[0].in_flight, 2);
    drop(one);
    let three = guest().seat().expect("room again");
    house.pot.change_client(id, |terms| terms.concurrency = Some(1)).await.expect("changed");
    drop(two);
    assert!(guest().seat().is_err(), "one is under way");
    drop(three);
    assert!(guest().seat().is_ok() && Guest::ANONYMOUS.seat().expect("not counted").is_none());
    assert_eq!(house.pot.clients()[0].in_flight, 0);
    assert!(guest().owns(None) && guest().owns(Some(id)) && !guest().owns(Some(ClientId(9))));
    assert!(!Guest::ANONYMOUS.owns(Some(id)));
}

#[tokio::test]
async fn those_inside_hear_of_a_revocation() {
    let house = House::new();
    let (key, id) = house.add(named("ann")).await;
    let mut told = house.let_in(key.expose()).expect("let in").revocation();
    assert!(!told.is_over());
    house.pot.change_client(id, |terms| terms.concurrency = Some(1)).await.expect("changed");
    assert!(!told.is_over());
    house.pot.revoke_client(id).await.expect("revoked");
    told.over().await;
    assert!(told.is_over() && !Revocation::NEVER.is_over());
}

/// As many guesses as somebody can send in a day: no memory grows with them, and each costs about as much as the first.
#[tokio::test]
async fn a_million_guesses_leave_nothing_behind() {
    let house = House::new();
    let (key, id) = house.add(named("ann")).await;
    let started = house.clock.tick();
    let mut headers = HeaderMap::new();
    for number in 0..1_000_000_u32 {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let guess = ClientKey::from_random(bytes).text();
        headers.insert("x-api-key", HeaderValue::from_str(guess.expose()).expect("a header"));
        // From everywhere, then all from one place.
        let from = Some(IpAddr::from(if number % 2 == 0 { number.to_be_bytes() } else { [192, 0, 2, 1] }));
        assert!(house.pot.let_in(&headers, ClientsMode::Required, from).is_err());
    }
    let took = started.elapsed();
    assert!(house.pot.clients.guesses.addresses() <= 4097, "{}", house.pot.clients.guesses.addresses());
    assert!(took < Duration::from_secs(120), "{took:?}");
    let alarms = house.pot.metrics().encode().expect("metrics");
    let rung = alarms.split("potluck_alarms_total{reason=\"client_key_guessing\"} ").nth(1).expect("the alarm rings");
    assert_ne!(rung.lines().next(), Some("0"));
    let here = Some(IpAddr::from([192, 0, 2, 1]));
    let again = house.pot.let_in(&headers, ClientsMode::Required, here);
    assert!(matches!(again, Err(Turned::Guessing { retry_after_s: 1.. })), "{again:?}");
    let right = house.pot.let_in(&bearer(key.expose()), ClientsMode::Required, here).expect("let in");
    assert_eq!(right.client(), Some(id), "others who share the address are not shut out");
}
