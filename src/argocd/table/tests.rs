use std::collections::HashSet;

use super::*;

/// A path that `rest` must match: each field stands for itself, a `**` for two segments.
fn example(rest: &Rest) -> Vec<String> {
    rest.segments()
        .flat_map(|segment| match segment {
            Segment::Literal(text) => vec![text.to_owned()],
            Segment::One(field) => vec![format!("<{field}>")],
            Segment::Rest(field) => vec![format!("<{field}>"), "more".to_owned()],
        })
        .collect()
}

#[test]
fn there_are_109_operations_with_110_rest_bindings() {
    assert_eq!(ROWS.len(), 109);
    assert_eq!(ROWS.iter().map(|row| row.rest.len()).sum::<usize>(), 110);
    let twice: Vec<_> = ROWS.iter().filter(|row| row.rest.len() != 1).collect();
    assert_eq!(twice.len(), 1);
    assert_eq!(twice[0].operation, Operation::ApplicationPodLogs);
}

#[test]
fn names_and_paths_are_unique_and_in_order() {
    let names: HashSet<_> = ROWS.iter().map(|row| row.name).collect();
    let paths: HashSet<_> = ROWS.iter().map(|row| row.grpc).collect();
    assert_eq!((names.len(), paths.len()), (109, 109));
    let variants: Vec<String> = Operation::all().map(|o| format!("{o:?}")).collect();
    assert!(variants.is_sorted());
}

#[test]
fn the_name_is_the_end_of_the_grpc_path() {
    for row in &ROWS {
        let (_, end) = row.grpc.split_once('.').unwrap();
        assert_eq!(end.replace('/', "."), row.name);
    }
}

#[test]
fn every_template_matches_its_example_and_no_other_takes_it() {
    for row in &ROWS {
        for rest in row.rest {
            let path = example(rest);
            let method = Method::from_bytes(rest.method.as_bytes()).unwrap();
            let matched = by_rest(&method, &path).unwrap();
            if rest.shadowed {
                assert_ne!(matched.row.operation, row.operation, "{}", row.name);
                assert_eq!(matched.rest.template, rest.template);
            } else {
                assert_eq!(matched.row.operation, row.operation, "{}", row.name);
                let all = ROWS
                    .iter()
                    .flat_map(|r| r.rest)
                    .filter(|r| !r.shadowed && r.method == rest.method)
                    .filter(|r| match_template(r, &path).is_some());
                assert_eq!(all.count(), 1, "{}", rest.template);
            }
        }
    }
}

#[test]
fn four_bindings_are_shadowed() {
    let shadowed: Vec<_> = ROWS
        .iter()
        .filter(|row| row.rest.iter().any(|rest| rest.shadowed))
        .map(|row| row.name)
        .collect();
    assert_eq!(
        shadowed,
        [
            "RepositoryService.CreateRepository",
            "RepositoryService.DeleteRepository",
            "RepositoryService.ListRepositories",
            "RepositoryService.UpdateRepository",
        ]
    );
}

#[test]
fn fields_in_paths_and_bodies_name_the_application_where_the_row_says() {
    for row in &ROWS {
        let Some(fields) = row.application else {
            assert!(!row.name.starts_with("ApplicationService."), "{}", row.name);
            continue;
        };
        assert!(row.name.starts_with("ApplicationService."), "{}", row.name);
        assert_eq!(
            fields.name.path.split('.').count(),
            fields.name.numbers().count()
        );
        for rest in row.rest {
            for segment in rest.segments() {
                if let Segment::One(field) = segment {
                    let of_app = ["name", "applicationName", "appName"].contains(&field)
                        || field.starts_with("application.");
                    assert_eq!(of_app, field == fields.name.path, "{}", rest.template);
                }
            }
        }
    }
}

#[test]
fn effects_are_the_classes_of_the_api() {
    let count = |effect| ROWS.iter().filter(|row| row.effect == effect).count();
    assert_eq!(count(Effect::Read), 56);
    assert_eq!(count(Effect::Write), 2);
    assert_eq!(count(Effect::Deploy), 12);
    assert_eq!(count(Effect::Administer), 39);
    assert_eq!(count(Effect::Report), 0);
}

#[test]
fn get_with_a_body_and_deploys_without_application_do_not_exist() {
    for row in &ROWS {
        for rest in row.rest {
            assert!(rest.method != "GET" || rest.body.is_none(), "{}", row.name);
        }
        assert!(
            row.effect != Effect::Deploy || row.application.is_some_and(|a| !a.optional),
            "{}",
            row.name
        );
    }
}

/// Whatever hands out, takes or revokes a credential of Argo CD ends here.
#[test]
fn credentials_of_the_upstream_are_never_reached() {
    for row in &ROWS {
        let service = row.name.split('.').next().unwrap();
        let of_credentials =
            ["AccountService", "SessionService"].contains(&service) || row.name.ends_with("Token");
        if of_credentials {
            assert!(
                matches!(row.handling, Handling::Refuse(_) | Handling::Answer(_)),
                "{}",
                row.name
            );
        }
        if let Handling::Refuse(instead) = row.handling {
            assert!(
                instead
                    .bytes()
                    .all(|b| (b' '..=b'~').contains(&b) && b != b'%')
            );
            assert!(!instead.contains("  "), "{instead}");
        }
    }
}
