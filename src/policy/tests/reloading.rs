//! Edits of the folder while the gate runs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::{Live, Reload, Source, watch};
use super::*;
use crate::clock::Clock;

const FORBID_ALL: &str = "@id(\"closed\") @advice(\"wait\") forbid (principal, action, resource) when { context.now > 0 };";

fn clock() -> Clock {
    Clock::fixed("2026-11-23T04:00:00Z".parse().unwrap())
}

fn write_shipped(dir: &Path) {
    let Source {
        schema,
        policies,
        cases,
    } = Source::shipped();
    for file in policies.iter().chain(&cases).chain([&schema]) {
        fs::write(dir.join(&file.name), &file.text).unwrap();
    }
}

fn may_get(live: &Live) -> bool {
    let (caller, app) = (person(&["engineer"]), app("dev"));
    live.current()
        .answer(&about(&caller, GET, &app, FindingWord::None))
        .allowed
}

#[test]
fn a_bad_edit_leaves_the_old_policies_in_force_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    write_shipped(dir.path());
    let live = Live::open(dir.path(), clock()).unwrap();
    let before = live.status().digest.clone();
    assert_eq!(live.reload(dir.path()), Reload::Same);

    let engineer = dir.path().join("engineer.cedar");
    let good = fs::read_to_string(&engineer).unwrap();
    fs::write(&engineer, "permit (principal, action, resource);").unwrap();
    assert!(matches!(live.reload(dir.path()), Reload::Keep(_)));
    assert_eq!(live.reload(dir.path()), Reload::Same);
    let status = live.status();
    assert_eq!(status.digest, before);
    assert!(
        status
            .last_error
            .as_ref()
            .unwrap()
            .contains("engineer.cedar:1:1"),
        "{status:?}"
    );
    assert!(may_get(&live));

    fs::write(&engineer, good).unwrap();
    assert_eq!(live.reload(dir.path()), Reload::Swap);
    assert_eq!(live.status().last_error, None);
    assert_eq!(live.status().digest, before);
}

#[test]
fn a_good_edit_takes_effect_and_one_against_its_cases_does_not() {
    let dir = tempfile::tempdir().unwrap();
    write_shipped(dir.path());
    let live = Live::open(dir.path(), clock()).unwrap();

    fs::write(dir.path().join("closed.cedar"), FORBID_ALL).unwrap();
    let Reload::Keep(error) = live.reload(dir.path()) else {
        panic!("cases say otherwise")
    };
    assert!(
        error
            .problems
            .iter()
            .all(|p| p.fault.code() == "case-fails")
    );
    assert!(may_get(&live));

    for file in &Source::shipped().cases {
        fs::write(dir.path().join(&file.name), "[]").unwrap();
    }
    assert_eq!(live.reload(dir.path()), Reload::Swap);
    assert!(!may_get(&live));
}

#[test]
fn a_folder_that_is_gone_and_comes_back_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("policies");
    fs::create_dir(&folder).unwrap();
    write_shipped(&folder);
    let live = Live::open(&folder, clock()).unwrap();
    fs::rename(&folder, dir.path().join("elsewhere")).unwrap();
    assert!(matches!(live.reload(&folder), Reload::Keep(_)));
    assert!(may_get(&live));
    assert!(live.status().last_error.is_some());
    fs::rename(dir.path().join("elsewhere"), &folder).unwrap();
    assert_eq!(live.reload(&folder), Reload::Swap);
    assert_eq!(live.status().last_error, None);
}

async fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    for _ in 0..200 {
        if holds() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

#[tokio::test]
async fn an_edit_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    write_shipped(dir.path());
    let live = Live::open(dir.path(), clock()).unwrap();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    watch(dir.path(), live.clone(), &tasks, stop.clone()).unwrap();

    fs::write(dir.path().join("broken.cedar"), "permit").unwrap();
    assert!(eventually(|| live.status().last_error.is_some()).await);
    assert!(may_get(&live));
    fs::remove_file(dir.path().join("broken.cedar")).unwrap();
    assert!(eventually(|| live.status().last_error.is_none()).await);

    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

/// Kubernetes writes a new folder, and then replaces the link `..data` to the old one by renaming.
#[cfg(unix)]
#[tokio::test]
async fn a_new_version_of_a_config_map_is_noticed_as_a_whole() {
    use std::os::unix::fs::symlink;

    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("..1")).unwrap();
    write_shipped(&at("..1"));
    symlink("..1", at("..data")).unwrap();
    for entry in fs::read_dir(at("..1")).unwrap() {
        let name = entry.unwrap().file_name();
        symlink(Path::new("..data").join(&name), dir.path().join(&name)).unwrap();
    }
    let live = Live::open(dir.path(), clock()).unwrap();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    watch(dir.path(), live.clone(), &tasks, stop.clone()).unwrap();

    fs::create_dir(at("..2")).unwrap();
    write_shipped(&at("..2"));
    for file in &Source::shipped().cases {
        fs::write(at("..2").join(&file.name), "[]").unwrap();
    }
    fs::write(at("..2").join("closed.cedar"), FORBID_ALL).unwrap();
    symlink("..2", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    assert!(eventually(|| !may_get(&live)).await);
    assert_eq!(live.status().last_error, None);

    stop.cancel();
    tasks.close();
    tasks.wait().await;
}
