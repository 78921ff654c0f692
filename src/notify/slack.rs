//! Messages that Slack takes at an incoming webhook, and what is compatible with it: Mattermost, Rocket.Chat.
//!
//! In: news, and a template in the language of Jinja. Out: `{"text": ...}` in Slack's `mrkdwn`, where
//! whatever the template inserts is escaped: the name of a test cannot call a whole channel. A
//! template that does not fit is refused when the configuration is read.

use std::fmt::Write as _;
use std::sync::Arc;

use minijinja::value::ValueKind;
use minijinja::{Environment, Output, State, UndefinedBehavior, context};
use serde_json::{Value, json};

use super::news::{Kind, News};
use crate::names::AppRef;
use crate::telemetry::chain;

/// The template where none is given.
const DEFAULT: &str = "*{{ title }}*: {{ text }} <{{ see }}|More>";
/// The name of the one template.
const NAME: &str = "message";
/// Slack cuts a text off there.
const MOST_CHARACTERS: usize = 4_000;

/// How news become a text.
#[derive(Clone, Debug)]
pub struct Template(Arc<Environment<'static>>);

impl Default for Template {
    fn default() -> Self {
        Self(Arc::new(environment()))
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_formatter(escaped);
    environment
}

impl Template {
    /// Takes in a template. It may use `event`, `title`, `text`, `application`, `environments`,
    /// `commits`, `time`, `see`, and `data`, which is the data of the `CloudEvents` event.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut environment = environment();
        environment
            .add_template_owned(NAME, text.to_owned())
            .map_err(|error| chain(&error))?;
        let template = Self(Arc::new(environment));
        for kind in Kind::ALL {
            template
                .render(&sample(kind))
                .map_err(|error| chain(&error))?;
        }
        Ok(template)
    }

    /// The message about `news`.
    #[must_use]
    pub fn message(&self, news: &News) -> Value {
        let text = self.render(news).or_else(|error| {
            // It uses a fact that this event does not have: better said plainly than not at all.
            tracing::warn!(error = chain(&error), "the template of a message fails");
            Self::default().render(news)
        });
        let text: String = text.unwrap_or_else(|_| news.kind.title().to_owned());
        json!({ "text": text.chars().take(MOST_CHARACTERS).collect::<String>() })
    }

    fn render(&self, news: &News) -> Result<String, minijinja::Error> {
        let known = context! {
            event => news.kind.word(),
            title => news.kind.title(),
            text => news.text.as_str(),
            application => news.application.to_string(),
            environments => news.environments.clone(),
            commits => news.commits.clone(),
            time => news.at.to_string(),
            see => news.see.as_str(),
            data => minijinja::value::Serde(news.data()),
        };
        match self.0.get_template(NAME) {
            Ok(template) => template.render(known),
            Err(_) => self.0.render_str(DEFAULT, known),
        }
    }
}

/// Escapes as <https://docs.slack.dev/messaging/formatting-message-text#escaping> says.
fn escaped(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &minijinja::Value,
) -> Result<(), minijinja::Error> {
    if value.kind() == ValueKind::Undefined {
        return minijinja::escape_formatter(out, state, value);
    }
    for character in value.to_string().chars() {
        match character {
            '&' => out.write_str("&amp;"),
            '<' => out.write_str("&lt;"),
            '>' => out.write_str("&gt;"),
            _ => out.write_char(character),
        }?;
    }
    Ok(())
}

/// News with which a template is tried.
fn sample(kind: Kind) -> News {
    News {
        kind,
        id: "01J0000000000000000000000".to_owned(),
        at: jiff::Timestamp::UNIX_EPOCH,
        application: AppRef {
            namespace: None,
            name: "checkout-prod".to_owned(),
        },
        environments: vec!["prod".to_owned()],
        commits: Vec::new(),
        text: "what has happened".to_owned(),
        see: "https://gate.example/".to_owned(),
        facts: json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(template: &Template, news: &News) -> String {
        template.message(news)["text"].as_str().unwrap().to_owned()
    }

    #[test]
    fn nothing_that_is_inserted_is_markup() {
        let news = News {
            text: "test <!channel> & <https://evil.example|here> failed".to_owned(),
            ..sample(Kind::RunFailed)
        };
        assert_eq!(
            text(&Template::default(), &news),
            "*Tests failed*: test &lt;!channel&gt; &amp; &lt;https://evil.example|here&gt; failed \
             <https://gate.example/|More>"
        );
    }

    #[test]
    fn a_template_says_it_in_its_own_words() {
        let own = "{{ event }} {{ application }}{% for e in environments %} {{ e }}{% endfor %} \
                   {{ data.commits | length }}";
        let template = Template::parse(own).unwrap();
        assert_eq!(
            text(&template, &sample(Kind::DeployRefused)),
            "deploy.refused checkout-prod prod 0"
        );
    }

    #[test]
    fn a_template_that_does_not_fit_is_refused_with_the_place() {
        for (template, why) in [
            ("{{ tex }}", "undefined value"),
            ("{{ text", "syntax error"),
            ("{{ text | shout }}", "unknown filter"),
            ("{% include 'other' %}", "unknown statement"),
        ] {
            let error = Template::parse(template).unwrap_err();
            assert!(error.contains(why), "{template}: {error}");
        }
    }

    #[test]
    fn what_a_template_lacks_at_an_event_does_not_lose_the_message() {
        let template = Template::parse("{% if text == 'odd' %}{{ data.caller }}{% endif %}");
        let news = News {
            text: "odd".to_owned(),
            ..sample(Kind::RunFailed)
        };
        let said = text(&template.unwrap(), &news);
        assert!(said.starts_with("*Tests failed*: odd"), "{said}");
    }

    #[test]
    fn a_long_text_is_cut() {
        let news = News {
            text: "é".repeat(2 * MOST_CHARACTERS),
            ..sample(Kind::RunFailed)
        };
        assert_eq!(
            text(&Template::default(), &news).chars().count(),
            MOST_CHARACTERS
        );
    }
}
