//! What the head of an answer tells of its request, as far as the operator wants it told (`proxy.response_headers`).

use http::{HeaderName, HeaderValue};
use pingora::http::ResponseHeader as Head;

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
    ///
    /// # Errors
    /// When a header cannot be represented.
    pub fn tell(&self, head: &mut Head) -> pingora::Result<()> {
        if self.shown.id {
            let id = HeaderValue::from_str(&self.id.to_string()).unwrap_or(HeaderValue::from_static("-"));
            head.insert_header(REQUEST_ID, id)?;
        }
        if self.shown.attempts {
            head.insert_header(ATTEMPTS, HeaderValue::from(self.attempts))?;
        }
        if let Some(cost) = self.cost {
            self.tell_cost(head, cost)?;
        }
        Ok(())
    }

    /// Put into `head` what the last attempt cost, with those before it.
    ///
    /// # Errors
    /// When a header cannot be represented.
    pub fn tell_last(mut self, head: &mut Head, cost: Usd) -> pingora::Result<()> {
        self.cost(Cost::Known(cost));
        self.cost.map_or(Ok(()), |cost| self.tell_cost(head, cost))
    }

    fn tell_cost(&self, head: &mut Head, cost: Usd) -> pingora::Result<()> {
        match HeaderValue::try_from(cost.to_decimal()) {
            Ok(cost) if self.shown.cost => head.insert_header(COST, cost),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[ResponseHeader], what: impl FnOnce(Request, &mut Head), expected: &[(&str, &str)]) {
        let mut head = Head::build(200, None).expect("a head");
        what(Request::new(RequestId(uuid::Uuid::from_u128(7)), Shown::new(headers)), &mut head);
        let told: Vec<_> =
            head.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("text"))).collect();
        assert_eq!(told, expected, "{headers:?}");
    }

    #[test]
    fn what_is_wanted_and_known_is_told() {
        use ResponseHeader::{Attempts, Cost as Costs, RequestId as Id};
        const ID: (&str, &str) = ("x-request-id", "00000000000000000000000000000007");
        let tell = |request: Request, head: &mut Head| request.tell(head).expect("told");
        check(&[], tell, &[]);
        check(&[Id], tell, &[ID]);
        check(&[Attempts, Id, Costs], tell, &[ID, ("x-potluck-attempts", "0"), ("x-potluck-cost", "0")]);
        let after = |costs: &'static [Cost]| {
            move |mut request: Request, head: &mut Head| {
                request.attempted(2);
                costs.iter().for_each(|cost| request.cost(*cost));
                request.tell(head).expect("told");
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
        let last = |mut request: Request, head: &mut Head| {
            request.cost(Cost::Known(Usd::from_pico(5)));
            request.answering().tell(head).expect("told");
            assert!(head.headers.is_empty());
            request.tell_last(head, Usd::from_pico(20)).expect("told");
        };
        check(&[ResponseHeader::Cost], last, &[("x-potluck-cost", "0.000000000025")]);
        check(&[], last, &[]);
    }
}
