//! What can go wrong on the wire, and how it is written: `reset-before-head`, `cut@120`, `slow@16/5`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A fault. Positions count the bytes of the body, without chunk framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `reset-before-head`: RST instead of an answer. Nothing was run, nothing is billed.
    ResetBeforeHead,
    /// `close-before-head`: the end instead of an answer. Nothing was run, nothing is billed.
    CloseBeforeHead,
    /// `stall-before-head`: nothing until released, then the answer; if hung up on, nothing was run or billed.
    StallBeforeHead,
    /// `cut-head`: half a head, then the end. Nothing was run, nothing is billed.
    CutHead,
    /// `reset@N` (`reset-after-head` is `reset@0`): RST after N bytes.
    Reset {
        /// Bytes that still go out.
        at: u64,
    },
    /// `cut@N`: a clean end after N bytes, in the middle of a chunk.
    Cut {
        /// Bytes that still go out.
        at: u64,
    },
    /// `stall@N`: nothing more after N bytes until released or hung up on.
    Stall {
        /// Bytes that still go out.
        at: u64,
    },
    /// `slow@N/MS`: N bytes every MS milliseconds.
    Slow {
        /// Bytes at a time.
        bytes: usize,
        /// How long between them.
        every: Duration,
    },
}

impl Fault {
    /// The position at which something happens to the body.
    pub const fn position(self) -> Option<u64> {
        match self {
            Self::Reset { at } | Self::Cut { at } | Self::Stall { at } => Some(at),
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ResetBeforeHead => f.write_str("reset-before-head"),
            Self::CloseBeforeHead => f.write_str("close-before-head"),
            Self::StallBeforeHead => f.write_str("stall-before-head"),
            Self::CutHead => f.write_str("cut-head"),
            Self::Reset { at } => write!(f, "reset@{at}"),
            Self::Cut { at } => write!(f, "cut@{at}"),
            Self::Stall { at } => write!(f, "stall@{at}"),
            Self::Slow { bytes, every } => write!(f, "slow@{bytes}/{}", every.as_millis()),
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, argument) = text.split_once('@').unwrap_or((text, ""));
        let at = argument.parse().map_err(|_| format!("{text}: not a fault at a byte"));
        Ok(match kind {
            "reset-before-head" => Self::ResetBeforeHead,
            "close-before-head" => Self::CloseBeforeHead,
            "stall-before-head" => Self::StallBeforeHead,
            "cut-head" => Self::CutHead,
            "reset-after-head" => Self::Reset { at: 0 },
            "reset" => Self::Reset { at: at? },
            "cut" => Self::Cut { at: at? },
            "stall" => Self::Stall { at: at? },
            "slow" => {
                let pair = argument.split_once('/').and_then(|(b, ms)| Some((b.parse().ok()?, ms.parse().ok()?)));
                let Some((bytes @ 1.., ms)) = pair else { return Err(format!("{text}: not slow@BYTES/MILLISECONDS")) };
                Self::Slow { bytes, every: Duration::from_millis(ms) }
            }
            _ => return Err(format!("{text}: no such fault")),
        })
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_read_as_they_are_written() {
        for text in [
            "reset-before-head",
            "close-before-head",
            "stall-before-head",
            "cut-head",
            "reset@0",
            "cut@120",
            "stall@7",
            "slow@16/5",
        ] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        assert_eq!("reset-after-head".parse(), Ok(Fault::Reset { at: 0 }));
        for text in ["", "cut", "cut@x", "slow@0/5", "slow@5", "reset@-1"] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }
}
