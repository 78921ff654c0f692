//! What receivers are told, and to whom it is of interest.
//!
//! In: something that has happened. Out: one message for each receiver that wants to know. Never: a
//! credential, or the attempts of a run; the link leads to those who may read them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::receiver_id;
use crate::config::Receiver;
use crate::names::AppRef;
use crate::policy::{AMBIGUOUS, UNASSIGNED};
use crate::store::NewNotice;

/// The kinds of events, by the words of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Somebody rolls out in an emergency what has not been tested.
    BreakGlassOpened,
    /// The tests that such a rollout owes have not passed in time.
    BreakGlassOverdue,
    /// The gate refused to roll something out, for want of evidence or by policy.
    DeployRefused,
    /// An operation of Argo CD that no decision explains.
    OperationUnexplained,
    /// A rollout was taken back.
    RollbackEnded,
    /// A rollout should be taken back, and waits for a person.
    RollbackProposed,
    /// A rollout is being taken back.
    RollbackStarted,
    /// A rollout could not be taken back: somebody must look.
    RollbackStuck,
    /// Tests have failed, or were refused as evidence.
    RunFailed,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::BreakGlassOpened,
        Self::BreakGlassOverdue,
        Self::DeployRefused,
        Self::OperationUnexplained,
        Self::RollbackEnded,
        Self::RollbackProposed,
        Self::RollbackStarted,
        Self::RollbackStuck,
        Self::RunFailed,
    ];

    /// The word of the configuration; behind `dev.syncgate.`, the type of the event.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::BreakGlassOpened => "break-glass.opened",
            Self::BreakGlassOverdue => "break-glass.overdue",
            Self::DeployRefused => "deploy.refused",
            Self::OperationUnexplained => "operation.unexplained",
            Self::RollbackEnded => "rollback.ended",
            Self::RollbackProposed => "rollback.proposed",
            Self::RollbackStarted => "rollback.started",
            Self::RollbackStuck => "rollback.stuck",
            Self::RunFailed => "run.failed",
        }
    }

    /// The same for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::BreakGlassOpened => "Break-glass",
            Self::BreakGlassOverdue => "Break-glass overdue",
            Self::DeployRefused => "Refused",
            Self::OperationUnexplained => "Unexplained operation",
            Self::RollbackEnded => "Rolled back",
            Self::RollbackProposed => "Rollback proposed",
            Self::RollbackStarted => "Rolling back",
            Self::RollbackStuck => "Rollback stuck",
            Self::RunFailed => "Tests failed",
        }
    }

    /// The kind that `word` names.
    ///
    /// # Errors
    /// One line for people, with the words that there are.
    pub fn parse(word: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|kind| kind.word() == word);
        known.ok_or_else(|| {
            let words = Self::ALL.map(Self::word).join(", ");
            format!("`{word}` is not an event; use {words}")
        })
    }
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// What.
    pub kind: Kind,
    /// The identifier of the event: the same whenever the same is told again.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// What it is mainly about.
    pub application: AppRef,
    /// The environments of everything that it is about.
    pub environments: Vec<String>,
    /// The commits, where they are known.
    pub commits: Vec<String>,
    /// One sentence.
    pub text: String,
    /// Where there is more to read.
    pub see: String,
    /// Further facts: an object.
    pub facts: Value,
}

impl News {
    /// The messages to those of `receivers` that want to know, from the gate at `source`.
    #[must_use]
    pub fn notices(&self, source: &str, receivers: &[Receiver]) -> Vec<NewNotice> {
        let wanted = receivers.iter().filter(|receiver| self.concerns(receiver));
        let notice = |receiver: &Receiver| NewNotice {
            receiver: receiver_id(&receiver.url),
            event: self.id.clone(),
            body: match &receiver.slack {
                None => self.cloud_event(source).to_string(),
                Some(template) => template.message(self).to_string(),
            },
            due_at: self.at,
        };
        wanted.map(notice).collect()
    }

    fn concerns(&self, receiver: &Receiver) -> bool {
        let is_wanted = receiver.events.is_empty() || receiver.events.contains(&self.kind);
        // What belongs to no environment, or to several, concerns everybody.
        let is_named = |name: &String| {
            [UNASSIGNED, AMBIGUOUS].contains(&name.as_str())
                || receiver.environments.iter().any(|e| e.as_str() == name)
        };
        is_wanted && (receiver.environments.is_empty() || self.environments.iter().any(is_named))
    }

    /// As a `CloudEvents` 1.0 event in structured mode.
    fn cloud_event(&self, source: &str) -> Value {
        json!({
            "specversion": "1.0",
            "id": self.id,
            "source": source,
            "type": format!("dev.syncgate.{}", self.kind.word()),
            "subject": self.application.to_string(),
            "time": self.at.to_string(),
            "datacontenttype": "application/json",
            "data": self.data(),
        })
    }

    /// The facts, with those that all events have.
    pub(super) fn data(&self) -> Value {
        let mut data = self.facts.as_object().cloned().unwrap_or_default();
        data.insert("application".to_owned(), json!(self.application));
        data.insert("environments".to_owned(), json!(self.environments));
        data.insert("commits".to_owned(), json!(self.commits));
        data.insert("text".to_owned(), json!(self.text));
        data.insert("see".to_owned(), json!(self.see));
        Value::Object(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receiver(path: &str) -> Receiver {
        Receiver {
            url: format!("https://alerts.example/{path}").parse().unwrap(),
            ca: None,
            token: None,
            slack: None,
            events: Vec::new(),
            environments: Vec::new(),
        }
    }

    fn refused(environments: &[&str]) -> News {
        News {
            kind: Kind::DeployRefused,
            id: "01J".to_owned(),
            at: "2026-11-23T09:00:00Z".parse().unwrap(),
            application: AppRef {
                namespace: None,
                name: "checkout-prod".to_owned(),
            },
            environments: environments.iter().map(|&e| e.to_owned()).collect(),
            commits: vec!["3".repeat(40)],
            text: "sync of checkout-prod refused".to_owned(),
            see: "https://gate.example/01J".to_owned(),
            facts: json!({ "caller": "rita" }),
        }
    }

    #[test]
    fn every_receiver_gets_what_it_asked_for() {
        let all = receiver("all");
        let prod = Receiver {
            environments: vec!["prod".parse().unwrap()],
            ..receiver("prod")
        };
        let tests = Receiver {
            events: vec![Kind::RunFailed],
            ..receiver("tests")
        };
        let to = [all.clone(), prod.clone(), tests.clone()];
        let told = |news: &News| -> Vec<String> {
            let notices = news.notices("https://gate.example/", &to);
            notices.into_iter().map(|notice| notice.receiver).collect()
        };
        let id = |receiver: &Receiver| receiver_id(&receiver.url);
        assert_eq!(told(&refused(&["staging"])), [id(&all)]);
        // A root in staging with a child in prod concerns both.
        assert_eq!(told(&refused(&["staging", "prod"])), [id(&all), id(&prod)]);
        let failed = News {
            kind: Kind::RunFailed,
            ..refused(&["staging"])
        };
        assert_eq!(told(&failed), [id(&all), id(&tests)]);
        assert_eq!(told(&refused(&[UNASSIGNED])), [id(&all), id(&prod)]);
    }

    #[test]
    fn an_event_has_what_cloud_events_demand_and_the_facts() {
        let [notice] = &refused(&["prod"]).notices("https://gate.example/", &[receiver("x")])[..]
        else {
            panic!("one message");
        };
        let event: Value = serde_json::from_str(&notice.body).unwrap();
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["type"], "dev.syncgate.deploy.refused");
        assert_eq!(event["source"], "https://gate.example/");
        assert_eq!(event["id"], "01J");
        assert_eq!(event["subject"], "checkout-prod");
        let data = &event["data"];
        assert_eq!(data["caller"], "rita");
        assert_eq!(data["environments"], json!(["prod"]));
        assert_eq!(data["commits"], json!(["3".repeat(40)]));
        assert_eq!(data["see"], "https://gate.example/01J");
    }

    #[test]
    fn the_words_are_known_and_no_other() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.word()), Ok(kind));
        }
        let error = Kind::parse("deploy.failed").unwrap_err();
        assert!(error.contains("`deploy.failed` is not an event; use break-glass.opened, "));
    }
}
