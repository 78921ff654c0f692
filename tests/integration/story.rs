//! The story of the demo, told as a test: on the stand-in, and on a real Argo CD where the variable
//! `SYNCGATE_STORY` names a file that says where one is.

use std::path::PathBuf;
use std::process::Command;

use anyhow::ensure;
use serde::Deserialize;
use syncgate::demo::story::{Push, Setting, Stage, tell};

/// What the file says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    /// The gate.
    gate: url::Url,
    /// The authorities to trust for it.
    ca_file: Option<PathBuf>,
    /// Names and tokens.
    engineer: (String, String),
    release_manager: (String, String),
    security: (String, String),
    /// The component of the story.
    component: String,
    /// A shell command that moves the branch and prints the new commit.
    push: String,
    /// The same, to a commit of which the tests fail.
    push_failing: String,
}

#[tokio::test]
async fn the_story_is_as_told_on_the_stand_in() {
    let mut lines = Vec::new();
    let listen = "127.0.0.1:0".parse().unwrap();
    syncgate::demo::run(listen, true, &mut |line| lines.push(line.to_owned()))
        .await
        .unwrap();
    let text = lines.join("\n");
    let mut rest = text.as_str();
    for part in [
        "REFUSED",
        "REFUSED",
        "ALLOWED",
        "PASSED",
        "ALLOWED",
        "decision",
        "FAILED",
        "TAKEN BACK",
    ] {
        let place = rest
            .find(part)
            .unwrap_or_else(|| panic!("no {part} in {rest}"));
        rest = rest.split_at(place + part.len()).1;
    }
}

#[tokio::test]
async fn the_story_is_as_told_on_a_real_argo_cd() {
    let Some(file) = std::env::var_os("SYNCGATE_STORY") else {
        println!("skipped: SYNCGATE_STORY does not say where a real Argo CD is");
        return;
    };
    let told: Told = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let stage = Stage::new(Setting {
        gate: told.gate,
        ca_file: told.ca_file,
        engineer: told.engineer,
        release_manager: told.release_manager,
        security: told.security,
        component: told.component,
        push: pushing(told.push),
        push_failing: pushing(told.push_failing),
    });
    tell(&stage.unwrap(), &mut |line| println!("{line}"))
        .await
        .unwrap();
}

/// What `command` does to the branch.
fn pushing(command: String) -> Push {
    Box::new(move || {
        let ran = Command::new("sh").args(["-c", &command]).output()?;
        let error = String::from_utf8_lossy(&ran.stderr);
        ensure!(ran.status.success(), "the branch was not moved: {error}");
        Ok(String::from_utf8(ran.stdout)?.trim().to_owned())
    })
}
