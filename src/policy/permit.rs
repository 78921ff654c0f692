//! The permission to forward, as a type.
//!
//! Forwarding takes a [`Permitted`]; only the policy room can make one, since nothing outside it
//! sees the constructor. There is no way from a refusal to a permit.

use super::decide::{Answer, Denial, policies};

/// A call that may be forwarded, with what permitted it.
#[derive(Debug)]
pub struct Permitted<T> {
    call: T,
    grounds: Grounds,
}

/// Why a call was permitted.
#[derive(Debug)]
pub struct Grounds {
    /// The answers to the questions that were asked, in their order; never empty.
    pub answers: Vec<Answer>,
    /// What would have been refused, where every refusal falls in an environment that only
    /// observes.
    pub observed: Option<Denial>,
}

impl<T> Permitted<T> {
    // SECURITY: visible in the policy room only. `decide` is its one caller.
    pub(super) fn new(call: T, answers: Vec<Answer>, observed: Option<Denial>) -> Self {
        Self {
            call,
            grounds: Grounds { answers, observed },
        }
    }

    /// The call, to look at.
    #[must_use]
    pub fn call(&self) -> &T {
        &self.call
    }

    /// Why it was permitted.
    #[must_use]
    pub fn grounds(&self) -> &Grounds {
        &self.grounds
    }

    /// The ids of the policies that permitted it, sorted, each once.
    #[must_use]
    pub fn policies(&self) -> Vec<&str> {
        policies(self.grounds.answers.iter().filter(|a| a.allowed))
    }

    /// What would have been refused, had its environment not been one that only observes.
    #[must_use]
    pub fn observed(&self) -> Option<&Denial> {
        self.grounds.observed.as_ref()
    }

    /// Gives up the permit for what is in it: for the one who forwards.
    #[must_use]
    pub fn into_parts(self) -> (T, Grounds) {
        (self.call, self.grounds)
    }
}
