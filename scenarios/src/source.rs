//! The text of a scenario or a plan, and how it is misread.

use std::ops::Range;

use miette::{Diagnostic, NamedSource, SourceSpan};
use reseed_sim::{Plan, plan::PlanError};
use toml::de::{DeTable, DeValue};

use crate::{
    nearest::nearest,
    scenario::{Place, Scenario, ScenarioError, Step},
};

/// A scenario's TOML text, or a plan's.
#[derive(Debug, Clone)]
pub struct Source {
    /// Where it is from: a file's path.
    pub name: String,
    /// The text.
    pub text: String,
}

/// A scenario that cannot be read, or makes no plan, with the place in its text.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct Misread {
    message: String,
    label: String,
    #[help]
    help: Option<String>,
    #[source_code]
    text: NamedSource<String>,
    #[label("{label}")]
    span: SourceSpan,
}

impl Source {
    /// The scenario.
    pub fn read(&self) -> Result<Scenario, Box<Misread>> {
        toml::from_str(&self.text).map_err(|error| self.misread(&error))
    }

    /// Whether it is a plan, in which nothing is left to be drawn.
    pub fn is_plan(&self) -> bool {
        DeTable::parse(&self.text).is_ok_and(|table| table.get_ref().contains_key("seed"))
    }

    /// The plan.
    pub fn read_plan(&self) -> Result<Plan, Box<Misread>> {
        let plan: Plan = toml::from_str(&self.text).map_err(|error| self.misread(&error))?;
        let wrong =
            |error: PlanError| self.report(error.to_string(), "here".to_owned(), None, 0..0);
        plan.check().map_err(wrong)?;
        Ok(plan)
    }

    /// Shows where in the text `error`, which came of planning this scenario, is.
    pub fn explain(&self, error: &ScenarioError) -> Box<Misread> {
        let span = self.find(&error.place).unwrap_or(0..0);
        self.report(error.problem.to_string(), "here".to_owned(), None, span)
    }

    fn misread(&self, error: &toml::de::Error) -> Box<Misread> {
        let span = error.span().unwrap_or(0..0);
        let (message, expected) = match error.message().split_once(", expected ") {
            Some((message, expected)) => (message, Some(expected)),
            None => (error.message(), None),
        };
        let meant = expected.and_then(|expected| {
            let word = quoted(message).next()?;
            nearest(word, &quoted(expected).collect::<Vec<_>>())
        });
        let label = match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "here".to_owned(),
        };
        let help = expected.map(|expected| format!("expected {expected}"));
        self.report(message.trim_end().to_owned(), label, help, span)
    }

    fn report(
        &self,
        message: String,
        label: String,
        help: Option<String>,
        span: Range<usize>,
    ) -> Box<Misread> {
        let text = NamedSource::new(&self.name, self.text.clone()).with_language("toml");
        Box::new(Misread { message, label, help, text, span: span.into() })
    }

    /// Where `place` stands, or as much of it as is there: what was left out has
    /// no place of its own.
    fn find(&self, place: &Place) -> Option<Range<usize>> {
        let document = DeTable::parse(&self.text).ok()?;
        let mut span = 0..0;
        let mut value = &DeValue::Table(document.get_ref().clone());
        for step in place.steps() {
            let found = match (step, value) {
                (Step::Field(name), DeValue::Table(table)) => table.get(*name),
                (Step::Index(index), DeValue::Array(array)) => array.get(*index),
                _ => None,
            };
            let Some(found) = found else { break };
            span = found.span();
            value = found.get_ref();
        }
        Some(span)
    }
}

/// The words between backticks.
fn quoted(message: &str) -> impl Iterator<Item = &str> {
    message.split('`').skip(1).step_by(2)
}
