//! Names, and files before a reader sees them.

use super::*;

#[test]
fn names_that_are_too_long_stay_apart() {
    let long = "x".repeat(MAX_TEST_NAME_BYTES);
    let (one, two) = (
        clean_name(&format!("{long}1")),
        clean_name(&format!("{long}2")),
    );
    assert_ne!(one, two);
    assert!(one.len() <= MAX_CLEAN_NAME_BYTES && one.starts_with("xxx"));
    let wide = fit_name(&"日本円".repeat(100), 100);
    assert!(wide.len() <= 100, "{}", wide.len());
}

#[test]
fn a_name_has_no_control_characters_and_is_never_empty() {
    assert_eq!(clean_name("a\nb\u{1b}[2J"), "a b [2J");
    assert_eq!(clean_name(" \n"), "(unnamed)");
}

#[test]
fn a_file_is_read_up_to_the_limit_whatever_its_size_is_said_to_be() {
    let read = |path: &str| {
        let files = Files::Reportlog(path.into());
        let error = Report::read(&files, Timestamp::UNIX_EPOCH, &mut |_| {}).unwrap_err();
        crate::telemetry::chain(&error)
    };
    // Its size is said to be 0.
    let endless = read("/dev/zero");
    assert!(
        endless
            .starts_with("`/dev/zero` cannot be taken: the files of one run have at most 256 MiB"),
        "{endless}"
    );
    assert!(read("/").contains("it is a folder; name its files"));
    assert!(read("/no/such").contains("it cannot be read: No such file"));
}
