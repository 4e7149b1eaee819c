//! What goes to the client of an answer that is passed on. Only an error that stands where the answer should begin is held back
//! until it is whole, and cleaned; and the head waits for what must stand in it.

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http::header::CONTENT_LENGTH;
use http::response::Parts;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora_timeout::timeout;

use crate::clock::Tick;
use crate::money::{Outcome, Usd};
use crate::upstream::Opening;

use super::Proxy;
use super::ai::Weave;
use super::request::Request;

/// What goes to the client.
pub(super) struct Passage<'a> {
    proxy: &'a Proxy,
    opening: Opening,
    /// A head that waits for the opening, as it promises a length, and that must be right; or for a look at what of the body has
    /// come with it.
    waiting: Option<Waiting>,
    /// When the request arrived, where the first byte's time is measured.
    arrived: Option<Tick>,
    /// Adds what the router decided.
    weave: Option<Weave>,
    /// Whose cost stands in the head, if it is known by then.
    tells: Option<Request>,
}

/// A head that is not written yet, and what follows it.
struct Waiting {
    head: Parts,
    /// What it promises; `None`: the body comes in chunks, and the head waits for nothing that is not here.
    length: Option<usize>,
    received: usize,
    behind: BytesMut,
}

impl<'a> Passage<'a> {
    pub(super) fn new(proxy: &'a Proxy, opening: Opening) -> Self {
        Self { proxy, opening, waiting: None, arrived: None, weave: None, tells: None }
    }

    /// Of an answer that is booked.
    pub(super) fn of(self, arrived: Tick, weave: Option<Weave>, tells: Option<Request>) -> Self {
        Self { arrived: Some(arrived), weave, tells, ..self }
    }

    /// Write the head. One that promises a length waits for the opening to be looked at, which costs nothing: where the length
    /// is known beforehand, the body is there as well. One that is to tell the cost waits until what has come is looked at.
    pub(super) async fn begin(mut self, session: &mut ServerSession, head: Parts) -> pingora::Result<Self> {
        let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let waits = if length.is_some() { !self.opening.is_over() } else { self.tells.is_some() };
        if waits {
            self.waiting = Some(Waiting { head, length, received: 0, behind: BytesMut::new() });
        } else {
            self.write_head(session, head).await?;
        }
        Ok(self)
    }

    /// Whether the head is not written yet and is to tell the cost.
    pub(super) fn wants_cost(&self) -> bool {
        self.waiting.is_some() && self.tells.is_some()
    }

    /// Whether the head waits for nothing but what has come with it.
    pub(super) fn only_looks(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.length.is_none())
    }

    /// Pingora's own deadline for writes holds for bodies only.
    async fn write_head(&self, session: &mut ServerSession, head: Parts) -> pingora::Result<()> {
        match timeout(self.proxy.limits.write_timeout, session.write_response_header(Box::new(head.into()))).await {
            Ok(written) => written?,
            Err(_) => {
                return pingora::Error::e_explain(pingora::ErrorType::WriteTimedout, "the client does not read");
            }
        }
        if let Some(arrived) = self.arrived {
            self.proxy.pot.metrics().time_to_first_byte(arrived.elapsed());
        }
        Ok(())
    }

    /// Pass on parts of the body that have come together. `cost` is known when they are its end.
    pub(super) async fn pass_on(
        &mut self,
        session: &mut ServerSession,
        mut parts: Vec<Bytes>,
        cost: Option<Usd>,
    ) -> pingora::Result<()> {
        if self.opening.is_over() && self.waiting.is_none() {
            return write(session, self.woven(parts)).await;
        }
        let received = parts.iter().map(Bytes::len).sum::<usize>();
        parts = parts.into_iter().map(|part| self.opening.push(part)).filter(|part| !part.is_empty()).collect();
        if let Some(waiting) = &mut self.waiting {
            waiting.received += received;
            parts.iter().for_each(|part| waiting.behind.extend_from_slice(part));
            let is_over = self.opening.is_over() || waiting.length.is_none();
            return if is_over { self.stop_waiting(session, cost).await } else { Ok(()) };
        }
        write(session, self.woven(parts)).await
    }

    /// The same parts with what the router decided in its place.
    fn woven(&mut self, parts: Vec<Bytes>) -> Vec<Bytes> {
        let Some(weave) = &mut self.weave else { return parts };
        let elapsed = self.arrived.map(Tick::elapsed).unwrap_or_default();
        let mut woven = Vec::with_capacity(parts.len() + 2);
        parts.into_iter().for_each(|part| weave.push(part, elapsed, &mut woven));
        woven
    }

    /// The body is over, in order or not. What is still held back of one that broke off is nothing anybody could use.
    pub(super) async fn end(
        &mut self,
        session: &mut ServerSession,
        outcome: Outcome,
        cost: Option<Usd>,
    ) -> pingora::Result<()> {
        let rest = if outcome == Outcome::Answered { self.opening.finish() } else { Bytes::new() };
        let mut parts = Vec::new();
        if let Some(waiting) = &mut self.waiting {
            waiting.behind.extend_from_slice(&rest);
            self.stop_waiting(session, cost).await?;
        } else if !rest.is_empty() {
            parts = self.woven(vec![rest]);
        }
        if let Some(weave) = &mut self.weave {
            let elapsed = self.arrived.map(Tick::elapsed).unwrap_or_default();
            weave.finish(outcome == Outcome::Answered, elapsed, &mut parts);
        }
        write(session, parts).await
    }

    /// Write the head that has waited, with the length that the body will have, and what has come of the body.
    pub(super) async fn stop_waiting(&mut self, session: &mut ServerSession, cost: Option<Usd>) -> pingora::Result<()> {
        let Some(Waiting { mut head, length, received, behind }) = self.waiting.take() else { return Ok(()) };
        // A body that broke off keeps the length that was promised, so that it is missed.
        if let Some(length) = length
            && self.opening.is_over()
            && behind.len() != received
        {
            let length = length.saturating_sub(received).saturating_add(behind.len());
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        if let (Some(cost), Some(request)) = (cost, self.tells) {
            request.tell_last(&mut head.headers, cost);
        }
        self.write_head(session, head).await?;
        if behind.is_empty() { Ok(()) } else { write(session, self.woven(vec![behind.freeze()])).await }
    }
}

async fn write(session: &mut ServerSession, mut parts: Vec<Bytes>) -> pingora::Result<()> {
    match parts.len() {
        0 => Ok(()),
        1 => session.write_response_body(parts.swap_remove(0), false).await,
        _ => {
            let tasks = parts.into_iter().map(|part| HttpTask::Body(Some(part), false)).collect();
            session.response_duplex_vec(tasks).await.map(drop)
        }
    }
}
