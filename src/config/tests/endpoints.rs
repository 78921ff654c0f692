//! The sections of the test door.

use super::*;

/// The mistakes of a good file with these sections behind it, or its endpoints.
fn read(sections: &str) -> Result<Vec<Endpoint>, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("secret", "canary-of-the-endpoint\n"),
        ("short", "canary"),
        ("lines", "canary-one\ncanary-two"),
        ("pem", "x"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let config = Config::parse(&format!("{GOOD}\n{sections}"), folder.path());
    config.map(|config| config.endpoints).map_err(|problems| {
        let line = |p: Problem| format!("{}: {}", p.key, p.message);
        problems.into_iter().map(line).collect()
    })
}

fn endpoint(lines: &str) -> String {
    format!(
        "[[endpoint]]\nname = \"api\"\nenvironment = \"staging\"\nprefix = \"/endpoints/api/\"\n\
         url = \"https://api.example\"\n{lines}\n"
    )
}

#[test]
fn an_endpoint_takes_reads_by_default_and_tells_who_calls() {
    let [api] = &read(&endpoint("")).unwrap()[..] else {
        panic!("one endpoint");
    };
    let methods: Vec<&str> = api.methods.iter().map(http::Method::as_str).collect();
    assert_eq!(methods, ["GET", "HEAD", "OPTIONS"]);
    assert!(api.identity && matches!(api.inject, Inject::Nothing));
    assert_eq!(api.place, Place::Prefix);
    assert_eq!(api.timeout.as_secs(), 30);
    let lines = "identity = false\ntimeout = \"5s\"\nhealth = \"/healthz?full\"\n\
                 methods = [\"POST\", \"POST\"]\n\
                 inject.basic = { user = \"me\", password = \"file:secret\" }";
    let [api] = &read(&endpoint(lines)).unwrap()[..] else {
        panic!("one endpoint");
    };
    assert!(!api.identity && api.methods.len() == 1);
    let shown = format!("{api:?}");
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn a_host_is_a_name_of_its_own() {
    let at = |host: &str| {
        let line = format!("host = \"{host}\"");
        read(&endpoint("").replace("prefix = \"/endpoints/api/\"", &line))
    };
    for (host, port) in [("API.example", None), ("api.example:8443", Some(8443))] {
        let place = Place::Host {
            host: "api.example".to_owned(),
            port,
        };
        assert_eq!(at(host).unwrap()[0].place, place);
    }
    for (host, said) in [
        ("gate.example", "is the gate's own host"),
        ("gate.example:8443", "is the gate's own host"),
        ("GATE.example", "is the gate's own host"),
        ("127.0.0.1", "would stand for the gate itself"),
        ("[::1]:80", "would stand for the gate itself"),
        ("localhost", "would stand for the gate itself"),
        ("api.example.", "is not the name of a host"),
        ("me@api.example", "is not the name of a host"),
        ("api.example/x", "is not the name of a host"),
        ("https://api.example", "is not the name of a host"),
        ("*.example", "is not the name of a host"),
        ("", "is not the name of a host"),
    ] {
        let found = at(host).unwrap_err();
        assert_eq!(found.len(), 1, "{host}: {found:?}");
        assert!(found[0].starts_with("endpoint[0].host: "), "{found:?}");
        assert!(found[0].contains(said), "{found:?}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn every_mistake_of_an_endpoint_is_named() {
    let secret = "inject.header = { name = \"X-Key\", value = \"file:secret\" }";
    for (lines, said) in [
        (
            "host = \"api.example\"",
            "host: contradicts prefix; give one of them",
        ),
        ("ca = \"none\"", "ca: cannot read"),
        ("methods = []", "methods: names no method"),
        (
            "methods = [\"get\"]",
            "methods[0]: `get` is not a method such as `POST`",
        ),
        (
            "methods = [\"CONNECT\"]",
            "methods[0]: `CONNECT` has no place at an endpoint",
        ),
        (
            "health = \"/../x\"",
            "health: `/../x` is not a path: the path has dot segments",
        ),
        ("health = \"healthz\"", "health: `healthz` is not a path"),
        ("retries = 3", "retries: is not a key"),
        ("inject = {}", "inject.header: is required, or `basic`"),
        (
            "inject.header = { name = \"Host\", value = \"file:secret\" }",
            "inject.header.name: `Host` cannot carry a credential",
        ),
        (
            "inject.header = { name = \"Syncgate_Identity\", value = \"file:secret\" }",
            "inject.header.name: `Syncgate_Identity` cannot carry a credential",
        ),
        (
            "inject.header = { name = \"X-Key\", scheme = \"a b\", value = \"file:secret\" }",
            "inject.header.scheme: `a b` is not a word",
        ),
        (
            "inject.header = { name = \"X-Key\", value = \"file:short\" }",
            "inject.header.value: is a secret of fewer than 8 bytes",
        ),
        (
            "inject.header = { name = \"X-Key\", value = \"file:lines\" }",
            "inject.header.value: is a secret of more than one line",
        ),
        (
            "inject.basic = { user = \"a:b\", password = \"file:secret\" }",
            "inject.basic.user: is no user of basic authentication",
        ),
        (
            "inject.client_certificate = \"pem\"",
            "inject.client_certificate: client_certificate and client_key belong together",
        ),
        (
            &format!("{secret}\ninject.client_certificate = \"pem\"\ninject.client_key = \"pem\""),
            "inject.header: there is more than one credential; give one of them",
        ),
    ] {
        let found = read(&endpoint(lines)).unwrap_err();
        assert_eq!(found.len(), 1, "{lines}: {found:?}");
        let begins = format!("endpoint[0].{said}");
        assert!(found[0].starts_with(&begins), "{lines}: {found:?}");
        assert!(!found[0].contains("canary"), "{found:?}");
    }
    for (from, to, said) in [
        (
            "name = \"api\"",
            "name = \"../api\"",
            "name: \"../api\" is not an endpoint name",
        ),
        (
            "\"/endpoints/api/\"",
            "\"/api/\"",
            "prefix: `/api/` cannot be a prefix",
        ),
        (
            "\"/endpoints/api/\"",
            "\"/endpoints/live/\"",
            "prefix: `/endpoints/live/` cannot be",
        ),
        (
            "prefix = \"/endpoints/api/\"",
            "",
            "host: is required, or `prefix`",
        ),
        (
            "\"staging\"",
            "\"nowhere\"",
            "environment: `nowhere` is not an environment",
        ),
        (
            "https://api",
            "http://api",
            "url: `http://api.example` is plain http off loopback",
        ),
        (
            "https://api",
            "https://me:canary@api",
            "url: holds a user or password",
        ),
        (
            "api.example\"",
            "api.example/?a\"",
            "url: `https://api.example/?a` must be a host",
        ),
    ] {
        let found = read(&endpoint("").replacen(from, to, 1)).unwrap_err();
        let begins = format!("endpoint[0].{said}");
        assert!(
            found.iter().any(|f| f.starts_with(&begins)),
            "{to}: {found:?}"
        );
        assert!(!found.concat().contains("canary"), "{found:?}");
    }
    let clear = endpoint("inject.client_certificate = \"pem\"\ninject.client_key = \"pem\"")
        .replace("https://api.example", "http://127.0.0.1:9");
    let found = read(&clear).unwrap_err();
    assert_eq!(
        found,
        ["endpoint[0].inject.client_certificate: needs an https url"]
    );
    let twice = read(&endpoint("").repeat(2)).unwrap_err();
    assert_eq!(twice, ["endpoint[1].name: `api` is declared twice"]);
    assert_eq!(
        read("[assertion]").unwrap_err(),
        ["assertion.key: is required"]
    );
}
