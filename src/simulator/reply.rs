//! One answer, from its head to its last byte, with everything that may go wrong on the way.

use std::sync::Arc;
use std::time::Duration;

use super::calendar::http_date;
use super::encode;
use super::faults::Fault;
use super::play::{Framing, Play, Then};
use super::shared::{Run, Shared};
use super::wire::{Gone, Wire};
use super::world::End;

/// What the browser may read of an answer; the real list, `Retry-After` missing.
pub const EXPOSED: &str = "X-Generation-Id,X-Provider-Name,request-id,cf-ray";

/// A part of a body that is sent at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Piece {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Output tokens made by the time it is sent.
    pub tokens: u64,
    /// The call is over and billed before it is sent.
    pub closes: bool,
    /// Wait that long before it.
    pub gap: Duration,
    /// Wait for a release before it.
    pub hold: bool,
}

impl Piece {
    /// Bytes sent at once, after the call is over.
    pub fn last(bytes: Vec<u8>) -> Self {
        Self { bytes, closes: true, ..Self::default() }
    }
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Headers besides those every answer has.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub pieces: Vec<Piece>,
    /// Whether it has no fixed length.
    pub streamed: bool,
    /// The call behind it, if one is billed, and how it ends.
    pub run: Option<(String, End)>,
    /// Whether hanging up stops the bill.
    pub stops_on_cancel: bool,
    /// What was ordered.
    pub play: Play,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It serves another request.
    Keep,
    /// It was or is to be closed.
    Close,
    /// It ends when the next request arrives; with a RST or not.
    EndBeforeAnother {
        /// With a RST.
        reset: bool,
    },
}

impl Reply {
    /// A body sent whole.
    pub fn whole(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { status, headers, pieces: vec![Piece::last(body)], ..Self::default() }
    }

    /// A JSON body sent whole.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::whole(status, "application/json", super::json::bytes(body))
    }

    /// With one header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn framing(&self) -> Framing {
        self.play.framing.unwrap_or(if self.streamed { Framing::Chunked } else { Framing::Length })
    }

    /// Apply what was ordered for the body: its text, packing and chunks.
    fn arrange(&mut self) {
        let play = &self.play;
        if let Some(body) = &play.body {
            self.pieces = vec![Piece::last(body.clone().into_bytes())];
        }
        if let Some(encoding) = play.encoding {
            let whole: Vec<u8> = self.pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect();
            self.pieces = vec![Piece::last(encode::pack(encoding, &whole))];
            self.headers.push(("content-encoding".to_owned(), encode::name(encoding).to_owned()));
        }
        if Play::on(play.coalesce) {
            let bytes = self.pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect();
            self.pieces = vec![Piece::last(bytes)];
        }
        if Play::on(play.split_utf8) {
            self.pieces = split(&self.pieces, |bytes| bytes.iter().position(|b| *b >= 0x80).map(|at| at + 1));
        }
        if let Some(size @ 1..) = play.chunk {
            self.pieces = split(&self.pieces, |bytes| Some(size).filter(|size| *size < bytes.len()));
        }
    }

    fn head(&self, shared: &Shared, number: u64) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        let mut put = |name: &str, value: &str| {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        };
        put("date", &http_date(shared.now_ms()));
        put("server", "cloudflare");
        put("cf-ray", &format!("{:016x}-SIM", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        put("cf-cache-status", "DYNAMIC");
        put("set-cookie", &format!("__cf_bm=sim.{number}.cookie; path=/; HttpOnly; Secure; SameSite=None"));
        put("access-control-allow-origin", "*");
        put("access-control-expose-headers", EXPOSED);
        for (name, value) in &self.headers {
            put(name, value);
        }
        for (name, value) in self.play.headers.iter().flatten() {
            put(name, value.as_str().unwrap_or(&value.to_string()));
        }
        let length: usize = self.pieces.iter().map(|piece| piece.bytes.len()).sum();
        match self.framing() {
            // A 204 has no body, and must not say how long it is.
            Framing::Length if self.status == 204 => {}
            Framing::Length => put("content-length", &length.to_string()),
            Framing::Chunked => put("transfer-encoding", "chunked"),
            Framing::Close => put("connection", "close"),
        }
        if self.play.then == Some(Then::AnnounceClose) {
            put("connection", "close");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// Send it.
    pub async fn send(mut self, shared: &Arc<Shared>, wire: &mut Wire, number: u64) -> Result<Next, Gone> {
        self.arrange();
        if let Some(status) = self.play.status {
            self.status = status;
        }
        let (id, end) = self.run.take().map_or((None, End::Complete), |(id, end)| (Some(id), end));
        let mut run = Run::new(shared, id);
        if !(self.streamed && self.stops_on_cancel) {
            run.tokens = u64::MAX;
        }
        if let Some(raw) = &self.play.raw {
            wire.write(raw.as_bytes()).await?;
            wire.finish().await;
            return Ok(Next::Close);
        }
        wire.pause(Duration::from_millis(self.play.delay_head_ms.unwrap_or(0))).await?;
        if let Some(status) = self.play.informational {
            wire.write(format!("HTTP/1.1 {status} {}\r\nx-sim-interim: 1\r\n\r\n", reason(status)).as_bytes()).await?;
        }
        if before_head(&self, shared, wire, number).await? {
            return Ok(Next::Close);
        }
        // A short answer leaves in one write: the call is over before its first byte.
        let mut head = self.head(shared, number);
        let chunked = self.framing() == Framing::Chunked;
        let plain = self.play.fault.is_none();
        if let [only] = self.pieces.as_slice()
            && only.closes
            && !only.hold
            && only.gap.is_zero()
            && !chunked
            && plain
        {
            run.end(end);
            head.extend_from_slice(&only.bytes);
            shared.world().journal.answered(number, self.status);
            wire.write(&head).await?;
            return Ok(self.afterwards(wire).await);
        }
        shared.world().journal.answered(number, self.status);
        wire.write(&head).await?;
        let mut body = Body { wire, shared, chunked, fault: self.play.fault, sent: 0 };
        for piece in &self.pieces {
            if !body.piece(piece, &mut run, end).await? {
                return Ok(Next::Close);
            }
        }
        run.end(end);
        body.end().await?;
        Ok(self.afterwards(wire).await)
    }

    async fn afterwards(&self, wire: &mut Wire) -> Next {
        match self.play.then {
            Some(Then::CloseOnNext) => Next::EndBeforeAnother { reset: false },
            Some(Then::ResetOnNext) => Next::EndBeforeAnother { reset: true },
            Some(Then::Close | Then::AnnounceClose) => {
                wire.finish().await;
                Next::Close
            }
            None if self.framing() == Framing::Close => {
                wire.finish().await;
                Next::Close
            }
            None => Next::Keep,
        }
    }
}

/// Faults instead of a head. `true`: there was one, and the connection is done with.
async fn before_head(reply: &Reply, shared: &Shared, wire: &mut Wire, number: u64) -> Result<bool, Gone> {
    match reply.play.fault {
        Some(Fault::ResetBeforeHead) => wire.reset(),
        Some(Fault::CloseBeforeHead) => wire.finish().await,
        // Inference has waited before anything was run; this is for the reads.
        Some(Fault::StallBeforeHead) => {
            wire.wait(shared.until_released()).await?;
            return Ok(false);
        }
        Some(Fault::CutHead) => {
            let head = reply.head(shared, number);
            wire.write(head.get(..head.len() / 2).unwrap_or_default()).await?;
            wire.finish().await;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// A body on its way.
struct Body<'a> {
    wire: &'a mut Wire,
    shared: &'a Arc<Shared>,
    chunked: bool,
    fault: Option<Fault>,
    sent: u64,
}

impl Body<'_> {
    /// Send one piece. `false`: a fault ended the connection.
    async fn piece(&mut self, piece: &Piece, run: &mut Run, end: End) -> Result<bool, Gone> {
        self.wire.pause(piece.gap).await?;
        if piece.hold {
            self.wire.wait(self.shared.until_released()).await?;
        }
        if piece.closes {
            run.end(end);
        }
        if piece.bytes.is_empty() {
            return Ok(true);
        }
        let end = self.sent + piece.bytes.len() as u64;
        // A position equal to the end belongs to the next piece, except 0, which is before the first.
        let at = self.fault.and_then(Fault::position).filter(|at| *at < end);
        if self.chunked {
            self.wire.write(format!("{:x}\r\n", piece.bytes.len()).as_bytes()).await?;
        }
        match at.map(|at| usize::try_from(at.saturating_sub(self.sent)).unwrap_or(usize::MAX)) {
            Some(at) => {
                let (before, after) = piece.bytes.split_at_checked(at).unwrap_or((&piece.bytes, &[]));
                self.wire.write(before).await?;
                if !self.strike().await? {
                    return Ok(false);
                }
                self.wire.write(after).await?;
            }
            None => self.spread(&piece.bytes).await?,
        }
        if self.chunked {
            self.wire.write(b"\r\n").await?;
        }
        self.sent = end;
        run.tokens = run.tokens.max(piece.tokens);
        Ok(true)
    }

    async fn spread(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        let Some(Fault::Slow { bytes: size, every }) = self.fault else { return self.wire.write(bytes).await };
        for part in bytes.chunks(size) {
            self.wire.pause(every).await?;
            self.wire.write(part).await?;
        }
        Ok(())
    }

    /// The fault happens, once. `false`: it ended the connection.
    async fn strike(&mut self) -> Result<bool, Gone> {
        match self.fault.take() {
            Some(Fault::Reset { .. }) => {
                self.wire.reset();
                Ok(false)
            }
            Some(Fault::Cut { .. }) => {
                self.wire.finish().await;
                Ok(false)
            }
            Some(Fault::Stall { .. }) => {
                self.wire.wait(self.shared.until_released()).await?;
                Ok(true)
            }
            _ => Ok(true),
        }
    }

    /// After the last piece: faults beyond the body still happen, before the terminator.
    async fn end(&mut self) -> Result<(), Gone> {
        if self.fault.and_then(Fault::position).is_some() && !self.strike().await? {
            return Err(Gone);
        }
        if self.chunked { self.wire.write(b"0\r\n\r\n").await } else { Ok(()) }
    }
}

/// Cut each piece where `cut` says, again and again. Waits and ends stay with the first part, tokens with the last.
fn split(pieces: &[Piece], cut: impl Fn(&[u8]) -> Option<usize>) -> Vec<Piece> {
    let mut out = Vec::new();
    for piece in pieces {
        let (mut rest, mut first) = (piece.bytes.as_slice(), true);
        // `split_utf8` would find its place again and again in a text without ASCII; a piece is one event at most.
        while let Some((head, tail)) = cut(rest).and_then(|at| rest.split_at_checked(at)).filter(|(_, t)| !t.is_empty())
        {
            out.push(Piece { bytes: head.to_vec(), tokens: 0, ..first_of(piece, first) });
            (rest, first) = (tail, false);
        }
        out.push(Piece { bytes: rest.to_vec(), tokens: piece.tokens, ..first_of(piece, first) });
    }
    out
}

fn first_of(piece: &Piece, first: bool) -> Piece {
    if first { Piece { bytes: Vec::new(), ..piece.clone() } } else { Piece::default() }
}

fn reason(status: u16) -> &'static str {
    match status {
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Payload Too Large",
        422 => "Unprocessable Entity",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_cut_without_loss() {
        let gap = Duration::from_millis(3);
        let piece = Piece { bytes: "aé🍲b".as_bytes().to_vec(), tokens: 4, closes: true, gap, hold: true };
        let cut = split(&[piece], |bytes| Some(3).filter(|n| *n < bytes.len()));
        let lengths: Vec<usize> = cut.iter().map(|piece| piece.bytes.len()).collect();
        assert_eq!(lengths, [3, 3, 2]);
        let flags: Vec<_> = cut.iter().map(|p| (p.tokens, p.closes, p.hold, p.gap.is_zero())).collect();
        assert_eq!(flags, [(0, true, true, false), (0, false, false, true), (4, false, false, true)]);
    }
}
