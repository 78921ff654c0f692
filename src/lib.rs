//! Syncgate: an identity-aware gate for Argo CD.

pub mod clock;
pub mod digest;
pub mod evidence;
pub mod gate;
pub mod identity;
pub mod names;
pub mod record;
pub mod store;
