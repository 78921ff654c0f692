//! Named places at which a test stops the process, to kill it there.
//!
//! Only with the feature `failpoints`, which a release build refuses; without it [`reach`] is
//! nothing. A test names a place and a file in `SYNCGATE_FAILPOINT=PLACE=FILE`: on reaching the
//! place the process creates the file and waits there, for its SIGKILL or until the file is removed.

#[cfg(all(feature = "failpoints", not(debug_assertions)))]
compile_error!("the feature `failpoints` is for tests only and may not be in a release build");

/// The opening entry is durable, nothing has been forwarded.
pub const BEFORE_FORWARD: &str = "before-forward";
/// The upstream has answered, the closing entry is not written.
pub const AFTER_FORWARD: &str = "after-forward";

/// The operation of a rollback is decided on and stored as asked for, and not written.
pub const BEFORE_ROLLBACK: &str = "before-rollback";
/// It is written; nothing says so yet.
pub const AFTER_ROLLBACK: &str = "after-rollback";

/// Waits here if the test asked for `place`, until its file is removed.
#[cfg(feature = "failpoints")]
pub async fn reach(place: &str) {
    let asked = std::env::var("SYNCGATE_FAILPOINT").unwrap_or_default();
    if let Some((name, file)) = asked.split_once('=')
        && name == place
        && std::fs::write(file, place).is_ok()
    {
        while std::fs::exists(file).unwrap_or(true) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

/// Nothing: this build has no fail points.
#[cfg(not(feature = "failpoints"))]
pub async fn reach(_place: &str) {}
