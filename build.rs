//! Compiles the files in `src/argocd/proto` without a protoc binary: `argocd.proto` to Rust types,
//! and both to descriptor sets by which fields are found that the gate does not know.

use std::error::Error;
use std::path::PathBuf;

/// The messages of a sync request, which are read and written as JSON too.
const SYNC_MESSAGES: [&str; 8] = [
    "ApplicationSyncRequest",
    "Backoff",
    "Info",
    "RetryStrategy",
    "SyncOperationResource",
    "SyncOptions",
    "SyncStrategy",
    "SyncStrategyApply",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src/argocd/proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut written = protox::Compiler::new(["src/argocd/proto"])?;
    written.include_imports(true).open_file("written.proto")?;
    std::fs::write(
        out.join("written.descriptors"),
        written.encode_file_descriptor_set(),
    )?;
    let mut compiler = protox::Compiler::new(["src/argocd/proto"])?;
    compiler.open_file("argocd.proto")?;
    std::fs::write(
        out.join("argocd.descriptors"),
        compiler.encode_file_descriptor_set(),
    )?;
    let mut config = prost_build::Config::new();
    for message in SYNC_MESSAGES {
        config.type_attribute(
            format!("argocd.{message}"),
            "#[derive(serde::Serialize, serde::Deserialize)]\n\
             #[serde(default, deny_unknown_fields, rename_all = \"camelCase\")]",
        );
    }
    // Argo CD's JSON writes the fields of the inner message into the hook itself.
    config.type_attribute(
        "argocd.SyncStrategyHook",
        "#[derive(serde::Serialize, serde::Deserialize)]\n\
         #[serde(from = \"crate::argocd::request::HookJson\", into = \"crate::argocd::request::HookJson\")]",
    );
    // Go writes an empty list as `null` too.
    for field in [
        "ApplicationSyncRequest.resources",
        "ApplicationSyncRequest.manifests",
        "ApplicationSyncRequest.infos",
        "ApplicationSyncRequest.sourcePositions",
        "ApplicationSyncRequest.revisions",
        "SyncOptions.items",
    ] {
        config.field_attribute(
            format!("argocd.{field}"),
            "#[serde(deserialize_with = \"crate::argocd::request::null_is_empty\")]",
        );
    }
    config.compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
