//! What a server can be told to do wrong: one file per misbehaviour, each with its own small state.

mod hang;
mod set;
mod slow;
mod spoil;
mod status;
mod withhold;

/// Every misbehaviour; by default none is active.
#[derive(Default)]
pub struct Faults {
    /// Requests are read and not answered.
    pub hang: hang::Hang,
    /// Series that show another value.
    pub set: set::Set,
    /// How long `/metrics` takes.
    pub slow: slow::Slow,
    /// How the page of `/metrics` is spoilt.
    pub spoil: spoil::Spoil,
    /// Every answer has this status.
    pub status: status::Status,
    /// Series left out of `/metrics`.
    pub withhold: withhold::Withhold,
}
