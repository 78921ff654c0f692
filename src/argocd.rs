//! Argo CD's API as the gate knows it: the closed table of its operations, how a request is read,
//! and the gate's own words on that API.
//!
//! In: heads and bodies of requests. Out: which [`operation::Operation`] they ask for, on which
//! application, and the message that may be sent on, written anew from what was read. Refused: what
//! is not in the table, and whatever two readers could read differently. Never: a guess.
//!
//! A request goes through [`classify`] (head, by [`path`] and [`table`]), [`framing`] (gRPC bodies)
//! and [`request`] (body to call; what callers write in [`written`]). [`change`] is the list of what
//! calls can do, and whether that needs evidence. [`client`] asks the upstream on the gate's own account, and
//! [`answers`] are the answers that the gate gives or changes itself.

pub mod answers;
pub mod change;
pub mod classify;
pub mod client;
pub mod facts;
pub mod framing;
pub(crate) mod json;
pub mod operation;
pub mod path;
pub mod proto;
pub mod protobuf;
pub mod request;
pub mod table;
pub mod written;
