//! The time, passed in.
//!
//! Everything that compares or stores a time takes a [`Clock`]; clippy forbids the ambient ones.

use std::sync::Arc;

use jiff::Timestamp;

/// Tells the time (UTC). Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the machine's clock"
        )]
        Self(Arc::new(Timestamp::now))
    }

    /// A clock that always tells `instant`, for tests.
    #[must_use]
    pub fn fixed(instant: Timestamp) -> Self {
        Self(Arc::new(move || instant))
    }

    /// A clock that asks `source`, for tests that move the time.
    #[must_use]
    pub fn from_fn(source: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}
