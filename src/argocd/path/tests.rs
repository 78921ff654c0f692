use super::*;

fn segments(raw: &str) -> Vec<String> {
    CanonicalPath::parse(raw).unwrap().segments().to_vec()
}

fn odd(raw: &str) -> Odd {
    match CanonicalPath::parse(raw) {
        Err(Error::Path(odd)) => odd,
        other => panic!("{raw}: {other:?}"),
    }
}

#[test]
fn an_encoded_letter_is_that_letter_and_is_sent_on_as_it() {
    let path = CanonicalPath::parse("/api/v1/applications/%66oo/s%79nc").unwrap();
    assert_eq!(
        path.segments(),
        ["api", "v1", "applications", "foo", "sync"]
    );
    assert_eq!(path.encode(), "/api/v1/applications/foo/sync");
}

#[test]
fn what_two_readers_may_read_differently_is_refused() {
    for (raw, expected) in [
        ("api/v1/applications", Odd::NotAbsolute),
        ("", Odd::NotAbsolute),
        ("*", Odd::NotAbsolute),
        ("//", Odd::Empty),
        ("//api/v1/applications", Odd::Empty),
        ("/api//v1/applications", Odd::Empty),
        ("/api/v1/applications//", Odd::Empty),
        ("/api/v1/applications/../projects", Odd::Dots),
        ("/api/v1/./applications", Odd::Dots),
        ("/api/v1/applications/%2e%2e/x", Odd::Dots),
        ("/api/v1/applications/foo%2Ebar", Odd::Dots),
        ("/api/v1/applications/foo%2Fsync", Odd::Character('/')),
        ("/api/v1/applications/foo%2fsync", Odd::Character('/')),
        ("/api/v1/applications/foo%252Fsync", Odd::Character('%')),
        ("/api/v1/applications/foo;a=b/sync", Odd::Character(';')),
        ("/api/v1/applications/foo%3Ba", Odd::Character(';')),
        ("/api/v1/applications\\foo", Odd::Character('\\')),
        ("/api/v1/applications/foo%5Csync", Odd::Character('\\')),
        ("/api/v1/applications/foo%00", Odd::Character('\0')),
        ("/api/v1/applications/foo%0a", Odd::Character('\n')),
        ("/api/v1/applications/foo%23x", Odd::Character('#')),
        ("/api/v1/applications/foo#x", Odd::Character('#')),
        ("/api/v1/applications/foo%3Fx", Odd::Character('?')),
        ("/api/v1/applications/foo%C2%85", Odd::Character('\u{85}')),
        ("/api/v1/applications/foo%", Odd::BadEscape),
        ("/api/v1/applications/foo%2", Odd::BadEscape),
        ("/api/v1/applications/foo%+1", Odd::BadEscape),
        ("/api/v1/applications/foo%FF", Odd::NotUtf8),
        ("/api/v1/applications/foo%C0%AF", Odd::NotUtf8),
        ("/api/v1/applications/f\u{f6}o", Odd::NotUtf8),
        ("/api/v1/applications/foo bar", Odd::Character(' ')),
    ] {
        assert_eq!(odd(raw), expected, "{raw}");
    }
}

#[test]
fn identifiers_of_repositories_and_clusters_hold_whole_urls() {
    for (raw, id) in [
        (
            "/api/v1/repositories/https%3A%2F%2Fgit.example%2Fshop.git/refs",
            "https://git.example/shop.git",
        ),
        (
            "/api/v1/clusters/https%3A%2F%2Fkubernetes.default.svc",
            "https://kubernetes.default.svc",
        ),
        (
            "/api/v1/repocreds/git%2Bssh%3A%2F%2Fgit%40host%2F%2520x",
            "git+ssh://git@host/%20x",
        ),
        ("/api/v1/clusters/in-cluster", "in-cluster"),
    ] {
        let path = CanonicalPath::parse(raw).unwrap();
        assert_eq!(path.segments()[3], id);
        assert_eq!(path.encode(), raw);
    }
}

#[test]
fn identifiers_that_the_upstream_would_decode_twice_are_refused() {
    assert_eq!(odd("/api/v1/clusters/a%2541"), Odd::Character('%'));
    assert_eq!(odd("/api/v1/clusters/a+b"), Odd::Character('+'));
    assert_eq!(
        odd("/api/v1/repositories/https%3A%2F%2Fx%2F..%2Fy"),
        Odd::Dots
    );
    // Beside such an identifier the upstream decodes nothing.
    assert_eq!(
        odd("/api/v1/repositories/https%3A%2F%2Fx/%72efs"),
        Odd::Character('%')
    );
}

#[test]
fn slashes_are_refused_elsewhere_even_if_the_service_is_spelt_by_escapes() {
    assert_eq!(odd("/api/v1/%63lusters/a%2Fb"), Odd::Character('/'));
    assert_eq!(
        odd("/api/v1/applications/x/api/v1/clusters/a%2Fb"),
        Odd::Character('/')
    );
}

#[test]
fn the_root_and_a_trailing_slash_survive() {
    assert_eq!(CanonicalPath::parse("/").unwrap().encode(), "/");
    assert_eq!(segments("/"), Vec::<String>::new());
    let path = CanonicalPath::parse("/swagger-ui/").unwrap();
    assert!(path.has_trailing_slash());
    assert_eq!(path.encode(), "/swagger-ui/");
}

#[test]
fn a_query_is_decoded_once_and_written_in_one_way() {
    let query = Query::of_fields(Some("appNamespace=a%2Fb&refresh&project=x+y&&fields=")).unwrap();
    assert_eq!(
        query.encode(),
        "?appNamespace=a%2Fb&refresh=&project=x%20y&fields="
    );
    assert_eq!(query.one("refresh"), Ok(Some("")));
    assert_eq!(query.one("absent"), Ok(None));
    assert_eq!(Query::of_fields(None).unwrap().encode(), "");
}

/// grpc-gateway 1.16 reads each of these keys as a field of the request: `=x` as the first.
#[test]
fn keys_that_are_no_field_names_are_refused() {
    for raw in [
        "=other",
        "&=other",
        "%00=x",
        "name[]=other",
        "name%5Bx%5D=other",
        "XXX_unrecognized=CgNmb28",
        "Name=other",
        ".name=other",
        "a..b=c",
    ] {
        assert!(
            matches!(Query::of_fields(Some(raw)), Err(Error::Query(_))),
            "{raw}"
        );
    }
}

#[test]
fn a_parameter_twice_is_refused_where_one_is_meant() {
    let query = Query::of_fields(Some("name=a&projects=x&projects=y&name=b")).unwrap();
    assert_eq!(
        query.one("name"),
        Err(Error::Query(Odd::Duplicate("name".into())))
    );
    assert_eq!(query.pairs().len(), 4);
}

#[test]
fn queries_that_go_would_refuse_are_refused() {
    for raw in ["a=b;c=d", "a=%zz", "a=%FF", "a=%00"] {
        assert!(Query::parse(Some(raw)).is_err(), "{raw}");
    }
}

proptest::proptest! {
    #[test]
    fn what_is_forwarded_reads_as_what_was_decided_on(raw in "/[a-z%0-9A-F/.:@+~_-]{0,40}") {
        if let Ok(path) = CanonicalPath::parse(&raw) {
            let again = CanonicalPath::parse(&path.encode()).unwrap();
            proptest::prop_assert_eq!(again, path);
        }
    }
}
