//! The `fields` parameter of Argo CD's REST lists and watches, which chooses what of an object is
//! sent: the facts that the filter needs must be among it.

use url::form_urlencoded;

use super::{Facts, Layout};

/// The query to send instead of `query`, where its `fields` would leave out what the filter needs;
/// none where it may stay as it is. The answer then holds a little more than was asked for.
#[must_use]
pub fn needs_fields_rewrite<F: Facts>(layout: Layout, query: &str) -> Option<String> {
    // Argo CD reads the first; the others go, so that nothing depends on that.
    let (_, fields) =
        form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "fields")?;
    if fields.is_empty() {
        return None;
    }
    let needed: Vec<String> = F::PATHS
        .iter()
        .map(|path| format!("{}.{path}", layout.fields_prefix))
        .collect();
    let fields = match fields.strip_prefix('-') {
        Some(excluded) => exclude(excluded, &needed),
        None => Some(include(&fields, &needed)),
    };
    let others = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "fields");
    let mut rewritten = form_urlencoded::Serializer::new(String::new());
    rewritten.extend_pairs(others);
    if let Some(fields) = fields {
        rewritten.append_pair("fields", &fields);
    }
    Some(rewritten.finish())
}

fn include(asked: &str, needed: &[String]) -> String {
    let mut fields: Vec<&str> = asked.split(',').collect();
    for path in needed {
        if !fields.contains(&path.as_str()) {
            fields.push(path);
        }
    }
    fields.join(",")
}

/// `asked` without what is, holds or is held by a needed path; none when nothing is left.
fn exclude(asked: &str, needed: &[String]) -> Option<String> {
    let under = |path: &str, of: &str| {
        path.strip_prefix(of)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let harmless = |field: &&str| {
        !needed
            .iter()
            .any(|path| under(path, field) || under(field, path))
    };
    let left: Vec<&str> = asked.split(',').filter(harmless).collect();
    (!left.is_empty()).then(|| format!("-{}", left.join(",")))
}

#[cfg(test)]
mod tests {
    use super::super::{APPLICATION_EVENT, APPLICATION_LIST, AppFacts};
    use super::*;

    #[test]
    fn what_the_filter_needs_is_always_sent() {
        let list = |query| needs_fields_rewrite::<AppFacts>(APPLICATION_LIST, query);
        assert_eq!(list("projects=a&selector=x%3Dy"), None);
        assert_eq!(list("fields="), None);
        assert_eq!(
            list("fields=items.status.health,items.metadata.name&project=a").unwrap(),
            "project=a&fields=items.status.health%2Citems.metadata.name%2C\
             items.metadata.namespace%2Citems.metadata.uid%2Citems.metadata.labels%2C\
             items.spec.project%2Citems.spec.destination"
        );
        let watch = |query| needs_fields_rewrite::<AppFacts>(APPLICATION_EVENT, query);
        for (asked, sent) in [
            (
                "fields=-result.application.status",
                "-result.application.status",
            ),
            (
                "fields=-result.application.spec,result.type",
                "-result.type",
            ),
            ("fields=-result.application.metadata.labels.x,a", "-a"),
            ("fields=-a&fields=result.type", "-a"),
        ] {
            let expected = form_urlencoded::Serializer::new(String::new())
                .append_pair("fields", sent)
                .finish();
            assert_eq!(watch(asked), Some(expected), "{asked}");
        }
        assert_eq!(watch("fields=-result&name=a").unwrap(), "name=a");
    }
}
