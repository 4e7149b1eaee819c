//! What the head of an answer tells of its request, as far as the operator wants it told (`proxy.response_headers`).

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::ResponseHeader;
use crate::money::{Cost, RequestId, Usd};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-potluck-attempts");
const COST: HeaderName = HeaderName::from_static("x-potluck-cost");

/// Which headers are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    id: bool,
    attempts: bool,
    cost: bool,
}

impl Shown {
    /// These.
    pub fn new(headers: &[ResponseHeader]) -> Self {
        Self {
            id: headers.contains(&ResponseHeader::RequestId),
            attempts: headers.contains(&ResponseHeader::Attempts),
            cost: headers.contains(&ResponseHeader::Cost),
        }
    }
}

/// A request, as the heads of its answers tell of it.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// potluck's id of it.
    pub id: RequestId,
    shown: Shown,
    /// How often a key was used for it.
    attempts: u16,
    /// What those attempts cost that are over; `None`: somebody may have been charged, and nobody knows what.
    cost: Option<Usd>,
}

impl Request {
    /// A request for which nothing was done yet.
    pub const fn new(id: RequestId, shown: Shown) -> Self {
        Self { id, shown, attempts: 0, cost: Some(Usd::ZERO) }
    }

    /// So many attempts were begun.
    pub const fn attempted(&mut self, attempts: u16) {
        self.attempts = attempts;
    }

    /// One of them is over.
    pub fn cost(&mut self, cost: Cost) {
        self.cost = match (self.cost, cost) {
            (Some(sum), Cost::Known(cost)) => sum.checked_add(cost),
            _ => None,
        };
    }

    /// The same while an answer is under way, whose cost is told apart if at all.
    pub const fn answering(self) -> Self {
        Self { cost: None, ..self }
    }

    /// Whether a cost that becomes known in time is told.
    pub const fn tells_cost(&self) -> bool {
        self.shown.cost
    }

    /// Put into `head` what is known now.
    pub fn tell(&self, head: &mut HeaderMap) {
        if self.shown.id {
            let id = HeaderValue::try_from(self.id.to_string()).unwrap_or(HeaderValue::from_static("-"));
            head.insert(REQUEST_ID, id);
        }
        if self.shown.attempts {
            head.insert(ATTEMPTS, HeaderValue::from(self.attempts));
        }
        if let Some(cost) = self.cost {
            self.tell_cost(head, cost);
        }
    }

    /// Put into `head` what the last attempt cost, with those before it.
    pub fn tell_last(mut self, head: &mut HeaderMap, cost: Usd) {
        self.cost(Cost::Known(cost));
        if let Some(cost) = self.cost {
            self.tell_cost(head, cost);
        }
    }

    fn tell_cost(&self, head: &mut HeaderMap, cost: Usd) {
        if let Ok(cost) = HeaderValue::try_from(cost.to_decimal())
            && self.shown.cost
        {
            head.insert(COST, cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[ResponseHeader], what: impl FnOnce(Request, &mut HeaderMap), expected: &[(&str, &str)]) {
        let mut head = HeaderMap::new();
        what(Request::new(RequestId(uuid::Uuid::from_u128(7)), Shown::new(headers)), &mut head);
        let told: Vec<_> = head.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("text"))).collect();
        assert_eq!(told, expected, "{headers:?}");
    }

    #[test]
    fn what_is_wanted_and_known_is_told() {
        use ResponseHeader::{Attempts, Cost as Costs, RequestId as Id};
        const ID: (&str, &str) = ("x-request-id", "00000000000000000000000000000007");
        let tell = |request: Request, head: &mut HeaderMap| request.tell(head);
        check(&[], tell, &[]);
        check(&[Id], tell, &[ID]);
        check(&[Attempts, Id, Costs], tell, &[ID, ("x-potluck-attempts", "0"), ("x-potluck-cost", "0")]);
        let after = |costs: &'static [Cost]| {
            move |mut request: Request, head: &mut HeaderMap| {
                request.attempted(2);
                costs.iter().for_each(|cost| request.cost(*cost));
                request.tell(head);
            }
        };
        const PICO: Cost = Cost::Known(Usd::from_pico(1));
        const HUGE: Cost = Cost::Known(Usd::from_pico(i64::MAX));
        check(&[Costs], after(&[PICO, PICO]), &[("x-potluck-cost", "0.000000000002")]);
        check(&[Costs, Attempts], after(&[PICO, Cost::Unknown, PICO]), &[("x-potluck-attempts", "2")]);
        check(&[Costs], after(&[HUGE, PICO]), &[]);
    }

    #[test]
    fn an_answers_cost_is_told_once_it_is_known() {
        let last = |mut request: Request, head: &mut HeaderMap| {
            request.cost(Cost::Known(Usd::from_pico(5)));
            request.answering().tell(head);
            assert!(head.is_empty());
            request.tell_last(head, Usd::from_pico(20));
        };
        check(&[ResponseHeader::Cost], last, &[("x-potluck-cost", "0.000000000025")]);
        check(&[], last, &[]);
    }
}
