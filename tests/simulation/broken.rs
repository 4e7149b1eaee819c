//! Potlucks with a fault built in on purpose: what the judge is for.

/// What is wrong with the glue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A request is sent before what it holds is durable.
    SendsBeforeTheDraw,
    /// A client that leaves takes the hold with it, and nothing is booked.
    ForgetsAborts,
    /// A cost that was not told is booked as nothing.
    UnknownIsZero,
    /// What a request may cost is not held.
    HoldsNothing,
    /// An attempt whose cost is unknown is booked twice.
    BooksTwice,
    /// The key's usage settles costs that the upstream may not have billed yet.
    ReckonsAtOnce,
    /// What was broken off is taken for over at once.
    TakesBrokenForOver,
    /// What a process that is gone had leased is free again at once.
    ForgivesLeases,
    /// The key's usage is compared while requests are under way.
    ReckonsInTraffic,
}

impl Broken {
    pub const ALL: [Self; 9] = [
        Self::SendsBeforeTheDraw,
        Self::ForgetsAborts,
        Self::UnknownIsZero,
        Self::HoldsNothing,
        Self::BooksTwice,
        Self::ReckonsAtOnce,
        Self::TakesBrokenForOver,
        Self::ForgivesLeases,
        Self::ReckonsInTraffic,
    ];
}
