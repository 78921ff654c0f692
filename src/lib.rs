//! Syncgate: an identity-aware gate for Argo CD.

pub mod admin;
pub mod body;
pub mod clock;
pub mod digest;
pub mod forward;
pub mod gate;
pub mod identity;
pub mod listener;
pub mod names;
pub mod respond;
pub mod telemetry;
