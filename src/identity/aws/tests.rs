//! Proofs that are not exactly the one request, and an STS that answers as nobody should.

mod answers;
mod proofs;

use super::testing;
