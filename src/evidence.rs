//! Test runs: what was reported, what it was about, and what it is worth.
//!
//! In: reports of test runs, attempt by attempt ([`run`]), or files that other tools wrote
//! ([`junit`], [`reportlog`]); what Argo CD says about the application at that moment
//! ([`crate::gate::AppFacts`]). Out: stored runs, each bound to commits and digests ([`binding`]) and
//! with a verdict that the gate computed itself ([`verdict`]), beside what Argo CD says of the Job that
//! it came from ([`hook`]); [`service`] puts them together over the store, and [`statement`] tells other
//! tools of a run. What others have signed about a run ([`dsse`]) is held against what was reported
//! ([`attestation`]). It refuses what is malformed, too large,
//! out of order, or about other commits than those that run. Never: a verdict taken over from the
//! reporter, or commits that only the reporter vouches for.
//!
//! The other side of the same interface, `syncgate evidence submit|list|show|withdraw`, is [`cli`]
//! over [`client`].

pub mod attestation;
pub mod binding;
pub mod cli;
pub mod client;
pub mod dsse;
pub mod hook;
pub mod junit;
pub mod report;
pub mod reportlog;
pub mod run;
pub mod service;
pub mod statement;
pub mod verdict;
pub mod view;
