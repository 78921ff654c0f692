//! Redirects: where an endpoint may send a caller.
//!
//! In: the `Location` of an answer. Out: the place of the same page at the door, for a page of the
//! endpoint's own; the address as it is, for another site. Removed: what cannot be reached here (a page
//! beside the endpoint's path), and every address of the gate itself but the endpoint's own place. A
//! client follows a redirect on one site with its credential: an endpoint must not be able to send a
//! caller's token, and with status 307 a caller's body, to the gate's API.

use http::HeaderValue;
use url::{Origin, Url};

use super::place::canonical;

/// What is known of one request, to judge the redirect in its answer by.
pub(super) struct Redirects {
    /// What was asked for, at the endpoint; none if that is no URL, which then has no redirects.
    asked: Option<Url>,
    /// The path that the endpoint runs under, without a slash at its end.
    root: String,
    /// Its place at the gate, without a slash at its end.
    prefix: String,
    /// Where the gate is.
    gate: Vec<Origin>,
}

impl Redirects {
    /// Redirects in the answer to a request for `path`, which begins with a slash, of the endpoint at
    /// `url`, which is at the gate under `prefix`; callers reach the gate at `gate`.
    pub(super) fn new(url: &Url, path: &str, prefix: &str, gate: Vec<Origin>) -> Self {
        let root = url.path().trim_end_matches('/').to_owned();
        Self {
            asked: url.join(&format!("{root}{path}")).ok(),
            root,
            prefix: prefix.to_owned(),
            gate,
        }
    }

    /// What a caller is told instead of `location`; nothing where they are not to go there.
    pub(super) fn rewritten(&self, location: &HeaderValue) -> Option<HeaderValue> {
        let text = location.to_str().ok()?;
        let asked = self.asked.as_ref()?;
        let target = asked.join(text).ok()?;
        if target.origin() == asked.origin() {
            return self.own(&target);
        }
        let is_web = matches!(target.scheme(), "http" | "https");
        // Another scheme or port of the gate's host is not the gate, but no place for callers either.
        let is_gate = self
            .gate
            .iter()
            .any(|gate| same_host(gate, &target.origin()));
        (is_web && !is_gate).then(|| location.clone())
    }

    /// A page of the endpoint's own, as a path at the door.
    fn own(&self, target: &Url) -> Option<HeaderValue> {
        let path = match target.path().strip_prefix(&self.root)? {
            "" => "/",
            path => path,
        };
        // What the door would not take need not be asked for.
        canonical(path).ok()?;
        let mut out = format!("{}{path}", self.prefix);
        for (mark, part) in [('?', target.query()), ('#', target.fragment())] {
            if let Some(part) = part {
                out.push(mark);
                out.push_str(part);
            }
        }
        HeaderValue::try_from(out).ok()
    }
}

fn same_host(one: &Origin, other: &Origin) -> bool {
    match (one, other) {
        (Origin::Tuple(_, one, _), Origin::Tuple(_, other, _)) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(url: &str, prefix: &str, location: &str) -> Option<String> {
        let gate = ["https://gate.example", "http://127.0.0.1:8080"];
        let gate = gate.map(|url| Url::parse(url).unwrap().origin()).to_vec();
        let redirects = Redirects::new(&Url::parse(url).unwrap(), "/a/b?c", prefix, gate);
        let location = HeaderValue::from_str(location).unwrap();
        let told = redirects.rewritten(&location)?;
        Some(told.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_page_of_the_endpoint_is_named_as_the_door_has_it() {
        for (url, location, expected) in [
            ("https://up.example", "/x?y#z", "/endpoints/one/x?y#z"),
            ("https://up.example", "x", "/endpoints/one/a/x"),
            ("https://up.example", "?q", "/endpoints/one/a/b?q"),
            ("https://up.example", "../../../x", "/endpoints/one/x"),
            (
                "https://up.example",
                "https://up.example",
                "/endpoints/one/",
            ),
            (
                "https://up.example",
                "https://UP.example:443/x",
                "/endpoints/one/x",
            ),
            ("https://up.example", "//up.example/x", "/endpoints/one/x"),
            ("https://up.example/root/", "/root/x", "/endpoints/one/x"),
            ("https://up.example/root", "/root", "/endpoints/one/"),
            (
                "http://127.0.0.1:9",
                "http://127.0.0.1:9/x",
                "/endpoints/one/x",
            ),
        ] {
            let told = told(url, "/endpoints/one", location);
            assert_eq!(told.as_deref(), Some(expected), "{url} {location}");
        }
        let at_host = told("https://up.example", "", "https://up.example/x");
        assert_eq!(at_host.as_deref(), Some("/x"));
    }

    #[test]
    fn another_site_is_left_as_it_is() {
        for location in ["https://login.example/x?y", "http://up.example/x"] {
            let told = told("https://up.example", "/endpoints/one", location);
            assert_eq!(told.as_deref(), Some(location));
        }
    }

    #[test]
    fn nobody_is_sent_to_the_gate_itself_or_where_the_door_does_not_lead() {
        for location in [
            "https://gate.example/api/v1/session",
            "http://gate.example/",
            "https://GATE.example:8443/endpoints/two/",
            "//gate.example/api/v1/applications",
            "http://127.0.0.1:8080/api/v1/applications",
            "https:\\\\gate.example\\api",
            "/beside",
            "/rootbeside",
            "../../../../beside",
            "/root/a//b",
            "/root/a%2fb",
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "http://",
        ] {
            let told = told("https://up.example/root", "/endpoints/one", location);
            assert_eq!(told, None, "{location}");
        }
    }
}
