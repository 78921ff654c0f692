//! The whole gate on real sockets, told as stories: callers on every wire, the gate, an Argo CD
//! that remembers what reached it, and an issuer of tokens, good and bad.
//!
//! Start at [`world`]: `World` is the gate in this process, `Process` the built binary. Each test is
//! named after what it shows. Tests that kill the binary at a named place need the feature
//! `failpoints`.

#[cfg(test)]
mod world;

// Who may speak at all
#[cfg(test)]
mod credentials;
// What is asked, on whichever wire
#[cfg(test)]
mod odd_requests;
#[cfg(test)]
mod wires;
// What is decided
#[cfg(test)]
mod admission;
#[cfg(test)]
mod attested;
mod break_glass;
#[cfg(test)]
mod changes;
#[cfg(test)]
mod children;
#[cfg(test)]
mod ci;
#[cfg(test)]
mod endpoints;
#[cfg(test)]
mod evidence;
#[cfg(test)]
mod hold;
#[cfg(test)]
mod honest;
#[cfg(test)]
mod hooks;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod named;
mod notify;
#[cfg(test)]
mod own_answers;
#[cfg(test)]
mod preflight;
#[cfg(test)]
mod race;
#[cfg(test)]
mod rollout;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod table;
#[cfg(test)]
mod trees;
// What is kept, and what must not be
#[cfg(test)]
#[cfg(feature = "failpoints")]
mod interrupted;
#[cfg(test)]
mod record;
#[cfg(test)]
mod secrets;
#[cfg(test)]
#[cfg(feature = "failpoints")]
mod submission;
// What passes beside the gate
#[cfg(test)]
mod unexplained;
// The binary
#[cfg(test)]
mod commands;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod serve;
#[cfg(test)]
mod token;
// All of it
#[cfg(test)]
mod snapshot;
mod story;
