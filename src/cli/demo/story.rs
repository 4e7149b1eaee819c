//! The demo's story: six acts on a real pool, the last of them in `table`, and the books at the end.

use std::sync::Arc;
use std::time::Duration;

use crate::money::Usd;
use crate::pool::{Health, KeyId};
use crate::pot::{Donation, Overview, Pot};
use crate::secret::{Credential, Secret};
use crate::simulator::{Pico, SimulatorHandle};

use super::picture::Picture;
use super::traffic::Traffic;

/// How long the story waits at most for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(100);

/// What goes wrong with a story that depends on real components.
#[derive(Debug, thiserror::Error)]
pub enum Stumble {
    /// The pool did not do what the act shows.
    #[error("the demo did not go as it should: {0}")]
    Unexpected(String),
    /// The ledger could not be read.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

/// Everything the story plays with.
pub struct Story {
    /// The pool.
    pub pot: Arc<Pot>,
    /// The upstream.
    pub simulator: SimulatorHandle,
    /// A client.
    pub traffic: Traffic,
    /// The stage.
    pub picture: Picture,
    /// A pause between requests, so that a person can follow.
    pub pace: Duration,
}

/// A donor: a name, an account at the simulator and a key in the pool.
pub struct Donor {
    name: &'static str,
    account: usize,
    key: usize,
    id: KeyId,
}

impl Story {
    /// Play it all.
    ///
    /// # Errors
    /// [`Stumble`] when the pool does not do what is told.
    pub async fn play(&mut self) -> Result<(), Stumble> {
        let donors = self.donors().await?;
        self.rotation().await?;
        let alice = &donors[0];
        self.alice_runs_dry(alice).await?;
        self.the_pool_goes_on(alice).await?;
        self.alice_is_refunded(alice).await?;
        self.a_client_hangs_up().await?;
        self.who_eats().await?;
        self.the_books(&donors).await
    }

    async fn donors(&mut self) -> Result<[Donor; 3], Stumble> {
        self.picture.act("Three people bring a key each: alice, bob and charlie.");
        let mut donors = Vec::new();
        for name in ["alice", "bob", "charlie"] {
            let key = self.simulator.funded_key(Pico::usd(5));
            let credential = Credential::parse(&key.text).map_err(|e| Stumble::Unexpected(e.to_string()))?;
            let donation = Donation {
                credential,
                label: Some(name.to_owned()),
                donor_id: None,
                donor_name: Some(name.to_owned()),
                limits: crate::money::Limits::default(),
            };
            let donated = self.pot.donate(donation).await.map_err(|e| Stumble::Unexpected(e.to_string()))?;
            donors.push(Donor { name, account: key.account, key: key.index, id: donated.id });
            self.picture.say(&format!("  {name:<8} key {} added, checked with a free call", donated.id));
        }
        self.show().await?;
        donors.try_into().map_err(|_| Stumble::Unexpected("not three donors".to_owned()))
    }

    async fn rotation(&mut self) -> Result<(), Stumble> {
        self.picture.act("Act 1 · Rotation. Nine requests, nobody gives more than the others.");
        self.requests(9).await?;
        let overview = self.show().await?;
        let even = overview.keys.iter().all(|key| key.totals.successes == 3);
        self.expect(even, "every key served three of nine requests")
    }

    async fn alice_runs_dry(&mut self, alice: &Donor) -> Result<(), Stumble> {
        self.picture.act("Act 2 · alice runs dry. Her account is empty now; the next client must not notice.");
        let spent = spent_by(&self.pot, alice.id).await?;
        self.simulator.edit_account(alice.account, |account| account.credits_usd = Pico(i128::from(spent.as_pico())));
        self.requests(3).await?;
        self.until("alice is marked depleted", |o| health(o, alice.id) == Some(Health::Depleted)).await?;
        self.picture.say("  OpenRouter said 402 to alice's key; the same bytes went to the next key at once");
        Ok(())
    }

    async fn the_pool_goes_on(&mut self, alice: &Donor) -> Result<(), Stumble> {
        self.picture.act("Act 3 · The pool goes on with the other two.");
        let before = attempts_with(&self.pot.overview().await?, alice.id);
        self.requests(6).await?;
        let after = attempts_with(&self.show().await?, alice.id);
        self.expect(before == after, "a depleted key is left alone")
    }

    async fn alice_is_refunded(&mut self, alice: &Donor) -> Result<(), Stumble> {
        self.picture.act("Act 4 · alice tops up. A free check sees the credit; no paid request is risked.");
        self.simulator.edit_account(alice.account, |account| account.credits_usd = Pico::usd(10));
        self.until("alice is healthy again", |o| health(o, alice.id) == Some(Health::Healthy)).await?;
        self.requests(3).await
    }

    async fn a_client_hangs_up(&mut self) -> Result<(), Stumble> {
        self.picture.act("Act 5 · A client hangs up in mid-stream, before the cost is told.");
        self.traffic.hang_up().await.map_err(Stumble::Unexpected)?;
        self.quiet().await?;
        self.until("the cost is unknown, and in suspense", |o| o.suspense.open > 0).await?;
        self.until("the reconciler has found it with the same key", |o| o.suspense.open == 0).await
    }

    async fn the_books(&mut self, donors: &[Donor; 3]) -> Result<(), Stumble> {
        self.picture.act("The books. potluck's ledger beside the simulator's own bill:");
        let overview = self.show().await?;
        self.picture.say(&format!("    {:<9} {:>18} {:>18}", "", "ledger", "bill"));
        let billed = self.simulator.bill();
        let mut equal = true;
        for donor in donors {
            let ledger = overview.keys.iter().find(|k| k.id == donor.id).map_or(Usd::ZERO, |k| k.totals.spent_total);
            let bill = billed.keys.iter().find(|line| line.index == donor.key).map_or(Pico::ZERO, |line| line.cost);
            let bill = i64::try_from(bill.0).map_or(Usd::ZERO, Usd::from_pico);
            equal &= ledger == bill;
            self.picture.say(&format!("    {:<9} {:>18} {:>18}", donor.name, ledger.to_string(), bill.to_string()));
        }
        self.expect(equal, "equal to the pico-dollar, for every key")
    }

    async fn requests(&mut self, count: u32) -> Result<(), Stumble> {
        self.requests_of(None, count).await
    }

    /// Requests of somebody with this client key, or of anybody.
    pub(super) async fn requests_of(&mut self, key: Option<&Secret>, count: u32) -> Result<(), Stumble> {
        for _ in 0..count {
            let status = self.traffic.chat(key, self.traffic.model).await.map_err(Stumble::Unexpected)?;
            if status != 200 {
                return Err(Stumble::Unexpected(format!("a client got status {status}")));
            }
            tokio::time::sleep(self.pace).await;
            let overview = self.pot.overview().await?;
            self.picture.draw(&overview);
        }
        self.picture.say(&format!("  {count} requests, {count} × 200"));
        self.quiet().await
    }

    /// Wait until the last request is booked: its client has the answer a moment before.
    pub(super) async fn quiet(&mut self) -> Result<(), Stumble> {
        let tries = PATIENCE.as_millis() / LOOK.as_millis();
        for _ in 0..tries {
            let overview = self.pot.overview().await?;
            self.picture.draw(&overview);
            if overview.in_flight == 0 {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(Stumble::Unexpected("requests under way never end".to_owned()))
    }

    async fn show(&mut self) -> Result<Overview, Stumble> {
        let overview = self.pot.overview().await?;
        self.picture.sum_up(&overview);
        Ok(overview)
    }

    /// Wait until it is so, and say it.
    async fn until(&mut self, what: &str, so: impl Fn(&Overview) -> bool) -> Result<(), Stumble> {
        let tries = PATIENCE.as_millis() / LOOK.as_millis();
        for _ in 0..tries {
            let overview = self.pot.overview().await?;
            self.picture.draw(&overview);
            if so(&overview) {
                self.picture.sum_up(&overview);
                return self.expect(true, what);
            }
            tokio::time::sleep(LOOK).await;
        }
        self.expect(false, what)
    }

    pub(super) fn expect(&mut self, so: bool, what: &str) -> Result<(), Stumble> {
        if !so {
            return Err(Stumble::Unexpected(what.to_owned()));
        }
        self.picture.say(&format!("  ✓ {what}"));
        Ok(())
    }
}

async fn spent_by(pot: &Pot, key: KeyId) -> Result<Usd, Stumble> {
    let overview = pot.overview().await?;
    Ok(overview.keys.iter().find(|k| k.id == key).map_or(Usd::ZERO, |k| k.totals.spent_total))
}

fn health(overview: &Overview, key: KeyId) -> Option<Health> {
    overview.keys.iter().find(|k| k.id == key).map(|k| k.state.health)
}

fn attempts_with(overview: &Overview, key: KeyId) -> u64 {
    overview.keys.iter().find(|k| k.id == key).map_or(0, |k| k.totals.requests)
}
