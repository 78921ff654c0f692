//! Syncgate: an identity-aware gate for Argo CD.
//!
//! ```text
//! listener ──► surface ──► classify ──► identity ──► plan ──► policy ──► record ──► forward
//! ```
//!
//! The line itself is [`pipeline`]; the modules below are in the order in which a request meets
//! them. `ARCHITECTURE.md` has the picture, the invariants and the walks.

// How a request comes in and what it asks for
pub mod admission;
pub mod argocd;
pub mod listener;
pub mod pipeline;
pub mod surface;
// Who asks
pub mod identity;
// What it is about and what the gate finds
pub mod break_glass;
pub mod evidence;
pub mod freeze;
pub mod gate;
pub mod git;
pub mod hold;
pub mod index;
pub mod planner;
// What is decided, recorded, sent on and answered
pub mod draft;
pub mod endpoint;
mod extension;
mod filtered;
pub mod forward;
pub mod issuer;
mod lease;
mod local;
mod own;
pub mod policy;
pub mod preflight;
pub mod record;
pub mod refusal;
pub mod respond;
mod terminal;
// What becomes of it, and what passed beside it
pub mod deployed;
pub mod intent;
pub mod notify;
pub mod rollout;
pub mod settle;
pub mod snapshot;
pub mod unexplained;
// What all of it stands on
pub mod admin;
pub mod app;
pub mod aws;
pub mod body;
pub mod clock;
pub mod commands;
pub mod config;
pub mod demo;
pub mod digest;
pub mod doctor;
pub mod failpoint;
mod json;
pub mod names;
pub mod outbound;
pub mod pattern;
pub mod serve;
pub mod signing;
pub mod store;
pub mod telemetry;
