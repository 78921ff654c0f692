//! Syncgate: an identity-aware gate for Argo CD.

pub mod argocd;
pub mod clock;
pub mod digest;
pub mod gate;
pub mod identity;
pub mod names;
