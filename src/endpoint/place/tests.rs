use http::HeaderValue;
use proptest::prelude::*;
use url::Url;

use super::*;

fn places() -> Places<&'static str> {
    let host = |host: &str, port| Place::Host {
        host: host.to_owned(),
        port,
    };
    let all = [
        ("one", Place::Prefix),
        ("two", Place::Prefix),
        ("at", host("at.example", None)),
        ("port", host("port.example", Some(8443))),
    ];
    Places::new(
        all.into_iter()
            .map(|(name, place)| (name.to_owned(), place, Arc::new(name))),
    )
}

/// The endpoint and the path that goes on; `odd` or `unknown`; or nothing.
fn asked(target: &str, hosts: &[&str]) -> Option<(String, String)> {
    let Ok(uri) = target.parse::<Uri>() else {
        return None;
    };
    let mut headers = HeaderMap::new();
    for host in hosts {
        headers.append(HOST, HeaderValue::from_str(host).unwrap());
    }
    places().find(&uri, &headers, 443).map(|found| match found {
        Found::At { endpoint, path, .. } => ((*endpoint).to_owned(), path),
        Found::Odd(what) => ("odd".to_owned(), what.to_owned()),
        Found::Unknown(name) => ("unknown".to_owned(), name),
    })
}

fn pair(endpoint: &str, path: &str) -> (String, String) {
    (endpoint.to_owned(), path.to_owned())
}

#[test]
fn a_prefix_is_the_endpoints_own_and_the_rest_goes_on_as_it_was_sent() {
    let gate = ["gate.example"];
    for (target, path) in [
        ("/endpoints/one/", "/"),
        ("/endpoints/one/a/b/", "/a/b/"),
        ("/endpoints/one/a?b=../../c%2f#d", "/a?b=../../c%2f"),
        ("/endpoints/one/caf%C3%A9/a;v=1", "/caf%C3%A9/a;v=1"),
        ("/endpoints/one/...", "/..."),
        ("/endpoints/one/?q", "/?q"),
    ] {
        assert_eq!(asked(target, &gate), Some(pair("one", path)), "{target}");
    }
    for name in [
        "three",
        "",
        "ONE",
        "one%2f..%2ftwo",
        "one\\..",
        "on%65",
        "one;a",
    ] {
        let found = asked(&format!("/endpoints/{name}/x"), &gate);
        assert_eq!(found, Some(pair("unknown", name)), "{name}");
    }
    assert_eq!(asked("/endpoints/one", &gate).unwrap().0, "odd");
    for other in [
        "/",
        "/endpoints",
        "//endpoints/one/",
        "/ENDPOINTS/one/",
        "/%65ndpoints/one/",
    ] {
        assert_eq!(asked(other, &gate), None, "{other}");
    }
}

#[test]
fn a_path_that_could_be_read_otherwise_is_refused() {
    for path in [
        "../two/",
        "a/../../two/",
        "./a",
        "..",
        "..;/two/",
        "a/..;v=1/b",
        "%2e%2e/two/",
        "%2E./two/",
        "a%2fb",
        "a%2Fb",
        "a%5cb",
        "%252e%252e/two",
        "/two/",
        "a//b",
        "a%00",
        "a%0d%0ab",
        "a%7f",
        "%c0%ae%c0%ae/two",
        "%ff",
        "a%2",
        "a%zz",
        "a{b}",
    ] {
        let target = format!("/endpoints/one/{path}");
        let found = asked(&target, &["gate.example"]);
        assert_eq!(found.as_ref().unwrap().0, "odd", "{path}: {found:?}");
        let found = asked(&format!("/{path}"), &["at.example"]);
        assert_eq!(found.as_ref().unwrap().0, "odd", "{path}: {found:?}");
    }
    assert!(canonical(&format!("/{}", "a".repeat(MAX_PATH))).is_err());
    assert!(canonical("*").is_err() && canonical("").is_err());
    assert!(canonical("/a\\b").is_err() && canonical("/ä").is_err());
}

#[test]
fn policies_see_what_the_endpoint_reads_however_it_is_written() {
    let uri = "/endpoints/one/%61dmin/%C3%a9%3Ax/a%20b?q=%2e"
        .parse()
        .unwrap();
    let found = places().find(&uri, &HeaderMap::new(), 443);
    let Some(Found::At {
        path, read, prefix, ..
    }) = found
    else {
        panic!("it is an endpoint's");
    };
    assert_eq!(path, "/%61dmin/%C3%a9%3Ax/a%20b?q=%2e");
    assert_eq!(read, "/admin/é:x/a b");
    assert_eq!(prefix, "/endpoints/one");
}

#[test]
fn a_host_is_matched_whole_and_only_one_may_be_named() {
    for (target, hosts, expected) in [
        ("/a?b", &["at.example"][..], Some(pair("at", "/a?b"))),
        ("/a", &["AT.Example:1234"], Some(pair("at", "/a"))),
        // The gate's own paths are not at this host.
        (
            "/syncgate/v1/log",
            &["at.example"],
            Some(pair("at", "/syncgate/v1/log")),
        ),
        (
            "/endpoints/one/",
            &["at.example"],
            Some(pair("at", "/endpoints/one/")),
        ),
        ("/a", &["port.example:8443"], Some(pair("port", "/a"))),
        ("/a", &["port.example"], None),
        ("/a", &["port.example:443"], None),
        ("/a", &["xat.example"], None),
        ("/a", &["at.example.evil.example"], None),
        ("/a", &["at.example."], None),
        ("/a", &["user@at.example"], None),
        ("/a", &[""], None),
        ("/a", &[], None),
        (
            "http://at.example/a",
            &["at.example"],
            Some(pair("at", "/a")),
        ),
        ("https://at.example/a", &[], Some(pair("at", "/a"))),
        ("http://at.example", &[], Some(pair("at", "/"))),
    ] {
        assert_eq!(asked(target, hosts), expected, "{target} {hosts:?}");
    }
    for (target, hosts) in [
        ("http://at.example/a", &["gate.example"][..]),
        ("http://gate.example/a", &["at.example"]),
        ("http://at.example:1/a", &["at.example:2"]),
        ("http://x@at.example/a", &["at.example"]),
        ("/a", &["at.example", "gate.example"]),
        ("/a", &["gate.example", "at.example"]),
        ("/a", &["at.example", "at.example"]),
    ] {
        let found = asked(target, hosts);
        assert_eq!(
            found,
            Some(pair("odd", "it names two hosts")),
            "{target} {hosts:?}"
        );
    }
    // Nothing of this door's: as ever.
    assert_eq!(asked("http://gate.example/a", &["other.example"]), None);
}

proptest! {
    /// However a server normalises the path that goes on, it stays where it was: under the prefix, and
    /// the same as what was decided on.
    #[test]
    fn what_goes_on_has_one_reading(
        path in "(/|\\.|\\.\\.|%2e|%2E|%2f|%5c|%25|;|a|b|%c3%a9|\\\\|\\?|#|one|two|%00|:|@|~|\\*){0,12}"
    ) {
        let target = format!("/endpoints/one/{path}");
        if let Some((endpoint, forwarded)) = asked(&target, &["gate.example"])
            && endpoint != "odd"
        {
            prop_assert_eq!(&endpoint, "one");
            let sent = forwarded.split('?').next().unwrap();
            let before = target.split(['?', '#']).next().unwrap();
            prop_assert_eq!(format!("/endpoints/one{sent}"), before);
            // As a browser, and most libraries, normalise it.
            let url = Url::parse(&format!("http://upstream{sent}")).unwrap();
            prop_assert_eq!(url.path(), sent);
            prop_assert!(!sent.contains("//") && !sent.contains('\\'));
        }
    }

    #[test]
    fn no_text_is_taken_for_an_endpoint_that_it_does_not_name(name in "[a-z.:@%/?#-]{0,12}") {
        let found = asked("/", &[&name]).or_else(|| asked(&format!("/endpoints/{name}"), &["g"]));
        if let Some((endpoint, _)) = found
            && !["odd", "unknown"].contains(&endpoint.as_str())
        {
            let prefix = endpoint + "/";
            prop_assert!(name.starts_with(&prefix) || name == "at.example");
        }
    }
}
