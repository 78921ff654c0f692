//! Which door was knocked on, told by the path alone.

/// A surface of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// Argo CD's API and everything that argocd-server serves beside it.
    ArgoCd,
    /// The gate's own API under `/syncgate/`.
    Own,
}

/// The prefix of everything that is the gate's own.
pub const OWN: &str = "/syncgate/";

impl Surface {
    /// The surface of a request for `path`, as it was sent. An encoded or odd form of our prefix is
    /// Argo CD's, whose canonicaliser then refuses or forwards it; it never reaches our own API.
    #[must_use]
    pub fn of(path: &str) -> Self {
        if path.starts_with(OWN) {
            Self::Own
        } else {
            Self::ArgoCd
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_prefix_is_ours() {
        assert_eq!(Surface::of("/syncgate/v1/runs"), Surface::Own);
        for path in [
            "/syncgate",
            "//syncgate/v1/runs",
            "/%73yncgate/v1/runs",
            "/SYNCGATE/v1",
            "/",
        ] {
            assert_eq!(Surface::of(path), Surface::ArgoCd, "{path}");
        }
    }
}
