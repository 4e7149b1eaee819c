//! A request on its way in: its client's seat, its body, and what must be known of it.

use std::sync::Arc;

use pingora::protocols::http::ServerSession;

use crate::clock::Tick;
use crate::pot::{Denied, Guest, Seat};
use crate::telemetry::ClientRefusal;
use crate::upstream::{Dialect, Endpoint, Refusal, RequestFacts, Spending, read_request, read_request_and_spending};

use super::Proxy;
use super::answer::{Served, give_refusal};
use super::body::{self, BodyFault, BodyLimits, HeldBody};
use super::request::Request;

/// A request whose body is here.
pub(super) struct Whole<'a> {
    pub(super) guest: &'a Guest,
    /// Its place among the requests that its client may have under way.
    pub(super) seat: Option<Arc<Seat>>,
    pub(super) request: Request,
    pub(super) body: HeldBody,
    pub(super) arrived: Tick,
    /// When the body was whole.
    pub(super) whole: Tick,
}

impl Proxy {
    /// Read a request's body, or refuse it.
    pub(super) async fn receive<'a>(
        &self,
        session: &mut ServerSession,
        guest: &'a Guest,
        dialect: Dialect,
        request: Request,
    ) -> Result<Whole<'a>, Served> {
        let arrived = Tick::now();
        let seat = match self.pot.take_seat(guest).await {
            Ok(seat) => seat,
            Err(denied) => return Err(give_refusal(session, &self.denial(denied), dialect, request).await),
        };
        match self.read_body_within(session, self.limits.body).await {
            Ok(body) => Ok(Whole { guest, seat, request, body, arrived, whole: Tick::now() }),
            Err(fault) => Err(self.give_body_fault(session, &fault, self.limits.body, dialect, request).await),
        }
    }

    /// What a client is told that may not go on.
    pub(super) fn denial(&self, denied: Denied) -> Refusal {
        match denied {
            Denied::Short { of, user } => {
                Refusal::ClientShort { of, user, affordable: None, now: self.pot.clock().now() }
            }
            Denied::NotLeased => Refusal::LedgerFull,
            Denied::Store(error) => {
                tracing::error!(%error, "what a client may use cannot be read");
                Refusal::LedgerFull
            }
        }
    }

    /// What must be known of the request, where it can be read and this guest may ask for it; with what it may make the
    /// upstream charge for, where any key's limits or the client's own make that matter.
    pub(super) fn read(
        &self,
        session: &ServerSession,
        endpoint: Endpoint,
        whole: &Whole<'_>,
    ) -> Result<(RequestFacts, Option<Spending>), Refusal> {
        let Whole { guest, seat, body, .. } = whole;
        let (headers, salt) = (&session.req_header().headers, self.pot.salt() ^ guest.salt());
        let matters = self.pot.has_strict() || seat.as_ref().is_some_and(|seat| seat.is_metered());
        let read = match matters {
            true => read_request_and_spending(endpoint, &body.bytes, headers, salt)
                .map(|(facts, spending)| (facts, Some(spending))),
            false => read_request(endpoint, &body.bytes, headers, salt).map(|facts| (facts, None)),
        };
        let (facts, spending) = read.map_err(Refusal::BadRequest)?;
        if !guest.may_ask_for(facts.model.as_deref(), &facts.fallbacks) {
            self.pot.refused_to(guest.spender(), ClientRefusal::Model);
            return Err(Refusal::ClientModel);
        }
        Ok((facts, spending))
    }

    pub(super) async fn give_body_fault(
        &self,
        session: &mut ServerSession,
        fault: &BodyFault,
        limits: BodyLimits,
        dialect: Dialect,
        request: Request,
    ) -> Served {
        let refusal = match fault {
            BodyFault::TooLarge => Refusal::BodyTooLarge { max: limits.bytes as u64 },
            BodyFault::NoRoom => Refusal::BodyBudget,
            BodyFault::Slow => Refusal::BodyTooSlow,
            BodyFault::Broken => Refusal::BodyBroken,
        };
        session.set_keepalive(None);
        give_refusal(session, &refusal, dialect, request).await
    }

    /// Read the request's body, answering `Expect: 100-continue` first.
    pub(super) async fn read_body_within(
        &self,
        session: &mut ServerSession,
        limits: BodyLimits,
    ) -> Result<HeldBody, BodyFault> {
        let headers = &session.req_header().headers;
        let announced = headers.get(http::header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
        let expects =
            headers.get(http::header::EXPECT).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        if expects && announced.is_none_or(|length: usize| length <= limits.bytes) {
            session.write_continue_response().await.map_err(|_| BodyFault::Broken)?;
        }
        body::read(session, announced, limits, &self.budget).await
    }
}
