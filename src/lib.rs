//! Syncgate: an identity-aware gate for Argo CD.

pub mod argocd;
pub mod clock;
pub mod config;
pub mod digest;
pub mod failpoint;
pub mod gate;
pub mod git;
pub mod identity;
pub mod names;
pub mod pattern;
