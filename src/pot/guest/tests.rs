//! Who is let in, over a pot whose store is real.

use http::{HeaderMap, HeaderValue, header};

use super::*;
use crate::clients::{Allowance, Terms};
use crate::clock::{Clock, Tick, Timestamp};
use crate::config::{Config, Flags};
use crate::money::ModelGlobs;
use crate::pot::{ClientError, Pot};
use crate::server::Potluck;

pub(in crate::pot) const NOON: Timestamp = Timestamp::from_secs(1_795_521_600);
const DAY: Duration = Duration::from_secs(86_400);

/// A pot of its own, with whoever is let in.
pub(in crate::pot) struct House {
    pub(in crate::pot) pot: Arc<Pot>,
    pub(in crate::pot) clock: Clock,
    place: tempfile::TempDir,
}

impl House {
    pub(in crate::pot) fn new() -> Self {
        Self::at(tempfile::tempdir().expect("a directory"), Clock::manual(NOON))
    }

    fn at(place: tempfile::TempDir, clock: Clock) -> Self {
        let data_dir = place.path().to_string_lossy().into_owned();
        let env = |name: &str| (name == "POTLUCK_DATA_DIR").then(|| data_dir.clone());
        let config = Config::from_parts(None, &env, &Flags::default()).expect("good settings");
        let potluck = Potluck::open_at(config, clock.clone()).expect("potluck opens");
        Self { pot: Arc::clone(potluck.pot()), clock, place }
    }

    pub(in crate::pot) fn restart(self) -> Self {
        self.pot.store().close().expect("closed");
        let Self { pot, clock, place } = self;
        drop(pot);
        Self::at(place, clock)
    }

    pub(in crate::pot) async fn add(&self, terms: Terms) -> (Secret, ClientId) {
        let (key, view) = self.pot.add_client(terms).await.expect("added");
        (key.text(), view.client.id)
    }

    pub(in crate::pot) fn let_in(&self, credential: &str) -> Result<Guest, Turned> {
        self.pot.let_in(&bearer(credential), &mut LastGuest::default(), ClientsMode::Required, None)
    }

    fn why_not(&self, credential: &str) -> Turned {
        self.let_in(credential).expect_err("turned away")
    }

    pub(in crate::pot) async fn token(&self, key: &Secret, user: Option<&str>) -> Issued {
        self.ask_token(key, user).await.expect("issued")
    }

    async fn ask_token(&self, key: &Secret, user: Option<&str>) -> Result<Issued, NotIssued> {
        let terms = TokenTerms { life: DAY, users_max: 3 };
        self.pot.issue_token(key.expose().as_bytes(), user.map(Into::into), terms, None).await
    }

    async fn in_flight(&self) -> u32 {
        self.pot.clients().await.expect("readable")[0].tab.in_flight
    }
}

fn bearer(credential: &str) -> HeaderMap {
    let value = HeaderValue::from_str(&format!("Bearer {credential}")).expect("a header");
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

pub(in crate::pot) fn named(name: &str) -> Terms {
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
    assert!(house.pot.clients().await.expect("readable").is_empty());
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
    let issued = house.token(&key, Some("user 1")).await;
    assert_eq!(issued.expires_in_s, 43_200, "no longer than the key");
    let guest = house.let_in(issued.token.expose()).expect("let in");
    assert_eq!((guest.client(), guest.user().map(|user| &*user.name)), (Some(id), Some("user 1")));
    let other = house.let_in(house.token(&key, None).await.token.expose()).expect("let in");
    assert_ne!(guest.salt(), other.salt(), "users' conversations are their own");
    house.pot.change_client(id, |terms| terms.expires_at = None).await.expect("changed");
    assert_eq!(house.token(&key, None).await.expires_in_s, 86_400);
    let house = house.restart();
    assert!(house.let_in(issued.token.expose()).is_ok(), "the signing key is kept");
    house.pot.rotate_signing_key(false).await.expect("rotated");
    assert!(house.let_in(issued.token.expose()).is_ok(), "an old key verifies");
    let house = house.restart();
    assert!(house.let_in(issued.token.expose()).is_ok(), "also after a restart");
    house.clock.set(NOON.after(DAY / 2));
    assert_eq!(house.why_not(issued.token.expose()), Turned::Away(Rejection::Expired));
    let fresh = house.token(&key, None).await;
    house.pot.rotate_signing_key(true).await.expect("rotated");
    assert_eq!(house.why_not(fresh.token.expose()), Turned::Away(Rejection::Unknown));
    let house = house.restart();
    assert_eq!(house.why_not(fresh.token.expose()), Turned::Away(Rejection::Unknown));
    let last = house.token(&key, None).await;
    house.pot.revoke_client(id).await.expect("revoked");
    assert_eq!(house.why_not(last.token.expose()), Turned::Away(Rejection::Revoked));
    let refused = house.ask_token(&key, None).await.expect_err("turned away");
    assert!(matches!(refused, NotIssued::Turned(Turned::Away(Rejection::Unknown))), "{refused:?}");
}

#[tokio::test]
async fn users_are_numbered_once_and_there_are_so_many() {
    let house = House::new();
    let (key, _) = house.add(named("ann")).await;
    let (other, _) = house.add(named("bob")).await;
    let user = async |house: &House, key: &Secret, name: &str| {
        let token = house.token(key, Some(name)).await.token;
        let guest = house.let_in(token.expose()).expect("let in");
        guest.user().cloned().expect("it names one")
    };
    let (first, second) = (user(&house, &key, "u1").await, user(&house, &key, "u2").await);
    assert_ne!(first.id, second.id);
    assert_ne!(user(&house, &other, "u1").await.id, first.id, "another client's user of that name is another one");
    let house = house.restart();
    assert_eq!(user(&house, &key, "u1").await, first);
    user(&house, &key, "u3").await;
    let refused = house.ask_token(&key, Some("u4")).await.expect_err("three are as many as it may name");
    assert!(matches!(refused, NotIssued::TooManyUsers { most: 3 }), "{refused:?}");
    assert!(house.ask_token(&key, None).await.is_ok());
}

#[tokio::test]
async fn who_is_known_again_on_a_connection_is_let_in_no_longer_than_anybody() {
    let house = House::new();
    let (ann, one) = house.add(named("ann")).await;
    let (bob, two) = house.add(Terms { expires_at: Some(NOON.after(DAY)), ..named("bob") }).await;
    let mut last = LastGuest::default();
    let mut client = |key: &Secret| {
        let guest = house.pot.let_in(&bearer(key.expose()), &mut last, ClientsMode::Required, None);
        guest.map(|guest| guest.client())
    };
    for (key, id) in [(&ann, one), (&ann, one), (&bob, two), (&ann, one), (&bob, two), (&bob, two)] {
        assert_eq!(client(key), Ok(Some(id)));
    }
    house.clock.set(NOON.after(DAY));
    assert_eq!(client(&bob), Err(Turned::Away(Rejection::Expired)));
    assert_eq!(client(&ann), Ok(Some(one)));
    house.pot.revoke_client(one).await.expect("revoked");
    assert_eq!(client(&ann), Err(Turned::Away(Rejection::Unknown)));
}

#[tokio::test]
async fn where_everybody_is_let_in_a_key_must_still_be_right() {
    let house = House::new();
    let (key, id) = house.add(named("ann")).await;
    let open = |headers: &HeaderMap| {
        house.pot.let_in(headers, &mut LastGuest::default(), ClientsMode::Open, None).map(|guest| guest.client())
    };
    assert_eq!(open(&HeaderMap::new()), Ok(None));
    assert_eq!(open(&bearer("anything")), Ok(None));
    assert_eq!(open(&bearer(key.expose())), Ok(Some(id)));
    assert_eq!(open(&bearer("ptl-anything")), Err(Turned::Away(Rejection::Malformed)));
    let stranger = ClientKey::from_random([7; 32]).text();
    assert_eq!(open(&bearer(stranger.expose())), Err(Turned::Away(Rejection::Unknown)));
    let missing = house.pot.let_in(&HeaderMap::new(), &mut LastGuest::default(), ClientsMode::Required, None);
    assert_eq!(missing.expect_err("turned away"), Turned::Away(Rejection::Missing));
    assert_eq!(house.why_not("sk-or-v1-0011"), Turned::Away(Rejection::Missing));
}

#[tokio::test]
async fn terms_hold_from_the_next_request_on_and_seats_are_given_back() {
    let house = House::new();
    let models = ModelGlobs::new(["openai/*"]);
    let allowance = Allowance { concurrency: Some(2), ..Allowance::default() };
    let (key, id) = house.add(Terms { models, allowance, ..named("ann") }).await;
    let guest = || house.let_in(key.expose()).expect("let in");
    assert!(guest().may_ask_for(Some("openai/a"), &[]) && !guest().may_ask_for(Some("openai/a"), &["x/y".into()]));
    assert!(!guest().may_ask_for(None, &[]) && Guest::ANONYMOUS.may_ask_for(None, &[]));
    let pot = &house.pot;
    let (first, second) = (guest(), guest());
    let (one, two) = (pot.take_seat(&first).await.expect("room"), pot.take_seat(&second).await.expect("room"));
    assert!(pot.take_seat(&guest()).await.is_err());
    assert_eq!(house.in_flight().await, 2);
    drop(one);
    let three = pot.take_seat(&guest()).await.expect("room again");
    pot.change_client(id, |terms| terms.allowance.concurrency = Some(1)).await.expect("changed");
    drop(two);
    assert!(pot.take_seat(&guest()).await.is_err(), "one is under way");
    drop(three);
    assert!(pot.take_seat(&guest()).await.is_ok());
    assert!(pot.take_seat(&Guest::ANONYMOUS).await.expect("not counted").is_none());
    assert_eq!(house.in_flight().await, 0);
    assert!(guest().owns(None) && guest().owns(Some(id)) && !guest().owns(Some(ClientId(9))));
    assert!(!Guest::ANONYMOUS.owns(Some(id)));
}

#[tokio::test]
async fn those_inside_hear_of_a_revocation() {
    let house = House::new();
    let (key, id) = house.add(named("ann")).await;
    let mut last = LastGuest::default();
    let guest = house.pot.let_in(&bearer(key.expose()), &mut last, ClientsMode::Required, None).expect("let in");
    let told = last.revocation_of(&guest);
    assert!(!told.is_over());
    house.pot.change_client(id, |terms| terms.allowance.concurrency = Some(1)).await.expect("changed");
    assert!(!told.is_over());
    house.pot.revoke_client(id).await.expect("revoked");
    told.over().await;
    assert!(told.is_over());
    assert!(!last.revocation_of(&Guest::ANONYMOUS).is_over(), "whoever comes next on the connection is somebody else");
}

/// As many guesses as somebody can send in a day: no memory grows with them, and each costs about as much as the first.
#[tokio::test]
async fn a_million_guesses_leave_nothing_behind() {
    let house = House::new();
    let (key, id) = house.add(named("ann")).await;
    let started = Tick::now();
    let mut headers = HeaderMap::new();
    for number in 0..1_000_000_u32 {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let guess = ClientKey::from_random(bytes).text();
        headers.insert("x-api-key", HeaderValue::from_str(guess.expose()).expect("a header"));
        // From everywhere, then all from one place.
        let from = Some(IpAddr::from(if number % 2 == 0 { number.to_be_bytes() } else { [192, 0, 2, 1] }));
        assert!(house.pot.let_in(&headers, &mut LastGuest::default(), ClientsMode::Required, from).is_err());
    }
    let took = started.elapsed();
    assert!(house.pot.clients.guesses.addresses() <= 4097, "{}", house.pot.clients.guesses.addresses());
    assert!(took < Duration::from_secs(120), "{took:?}");
    let alarms = house.pot.metrics().encode().expect("metrics");
    let rung = alarms.split("potluck_alarms_total{reason=\"client_key_guessing\"} ").nth(1).expect("the alarm rings");
    assert_ne!(rung.lines().next(), Some("0"));
    let here = Some(IpAddr::from([192, 0, 2, 1]));
    let again = house.pot.let_in(&headers, &mut LastGuest::default(), ClientsMode::Required, here);
    assert!(matches!(again, Err(Turned::Guessing { retry_after_s: 1.. })), "{again:?}");
    let right = house
        .pot
        .let_in(&bearer(key.expose()), &mut LastGuest::default(), ClientsMode::Required, here)
        .expect("let in");
    assert_eq!(right.client(), Some(id), "others who share the address are not shut out");
}
