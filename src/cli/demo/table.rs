//! The act about those who eat: two clients that share the pool, and a request that names no model.

use serde_json::Value;

use crate::clients::{Allowance, ClientId, Terms};
use crate::money::{ModelGlobs, Usd, Window};
use crate::secret::Secret;
use crate::store::LedgerFilter;

use super::story::{Story, Stumble};

/// What the router is asked.
const PROMPT: &str = "Translate to French: good night";

/// Somebody with a client key.
struct Eater {
    name: &'static str,
    key: Secret,
    id: ClientId,
    /// Requests it has made.
    served: u64,
}

/// A client's budget for a day: more than it will spend here.
const BUDGET: Usd = Usd::from_pico(50_000_000_000);

/// What a client of that name may do.
fn terms(name: &str, models: &[&str]) -> Terms {
    let budgets = [(Window::Day, BUDGET)].into_iter().collect();
    let allowance = Allowance { budgets, ..Allowance::default() };
    Terms { name: name.to_owned(), models: ModelGlobs::new(models), allowance, ..Terms::default() }
}

impl Story {
    /// Play it.
    pub(super) async fn who_eats(&mut self) -> Result<(), Stumble> {
        self.picture.act("Act 6 · Who eats at the table. Two clients share what three people bring.");
        let mut dana = self.eater("dana", &[]).await?;
        let mut erin = self.eater("erin", &["openai/*", "google/*"]).await?;
        for (eater, count) in [(&mut dana, 4), (&mut erin, 2)] {
            self.requests_of(Some(&eater.key), count).await?;
            eater.served += u64::from(count);
        }
        let refused =
            self.traffic.chat(Some(&erin.key), "anthropic/claude-sonnet-4.5").await.map_err(Stumble::Unexpected)?;
        self.expect(refused == 403, "erin may not ask for a model that is not hers (403)")?;
        self.the_router_chooses(&erin).await?;
        erin.served += 1;
        self.quiet().await?;
        self.pot.store().flush().await?;
        let row = |name: &str, requests: &str, spent: &str, left: &str| {
            format!("    {name:<9} {requests:>10} {spent:>18} {left:>20}")
        };
        self.picture.say(&row("client", "requests", "spent", "left of the day's"));
        let mut equal = true;
        for eater in [&dana, &erin] {
            let (requests, spent) = self.eaten(eater.id).await?;
            let left = self.left(eater.id).await?;
            equal &= requests == eater.served && spent > Usd::ZERO && left.checked_add(spent) == Some(BUDGET);
            let left = format!("{left} of {BUDGET}");
            self.picture.say(&row(eater.name, &requests.to_string(), &spent.to_string(), &left));
        }
        self.expect(equal, "the ledger knows whose each request was, and each budget what it was")
    }

    async fn eater(&mut self, name: &'static str, models: &[&str]) -> Result<Eater, Stumble> {
        let added = self.pot.add_client(terms(name, models)).await;
        let (key, view) = added.map_err(|e| Stumble::Unexpected(e.to_string()))?;
        let id = view.client.id;
        let may = if models.is_empty() { "every model".to_owned() } else { models.join(", ") };
        let mask = &view.client.mask;
        self.picture.say(&format!("  {name:<8} client {id} with key {mask}: {may}, {BUDGET} a day"));
        Ok(Eater { name, key: key.text(), id, served: 0 })
    }

    async fn the_router_chooses(&mut self, eater: &Eater) -> Result<(), Stumble> {
        let routing = self.traffic.complete(&eater.key, PROMPT).await.map_err(Stumble::Unexpected)?;
        self.picture.say(&format!("  {} asks /api/ai/completion without a model: {PROMPT:?}", eater.name));
        for (name, value) in routing.as_object().into_iter().flatten() {
            self.picture.say(&format!("    _routing.{name:<15} {value}"));
        }
        let is_told =
            ["model", "category", "reason"].iter().all(|name| routing.get(name).is_some_and(Value::is_string));
        self.expect(is_told, "the answer says which model was taken, and why")
    }

    /// What a client's budget leaves for the day.
    async fn left(&self, client: ClientId) -> Result<Usd, Stumble> {
        let view = self.pot.client(client).await.map_err(|e| Stumble::Unexpected(e.to_string()))?;
        view.tab.budgets.first().map(|budget| budget.left).ok_or_else(|| Stumble::Unexpected("no budget".to_owned()))
    }

    /// What the ledger says of a client: its requests, and what they cost.
    async fn eaten(&self, client: ClientId) -> Result<(u64, Usd), Stumble> {
        let filter = LedgerFilter { client: Some(client), ..LedgerFilter::default() };
        let lines = self.pot.store().summary(filter).await?;
        let sum = |(requests, spent): (u64, Usd), sums: crate::store::Sums| {
            (requests + sums.requests, spent.saturating_add(sums.amount))
        };
        Ok(lines.into_iter().map(|line| line.sums).fold((0, Usd::ZERO), sum))
    }
}
