//! What `doctor` has found: lines for people, one document for programs, and the exit code that it comes to.

use serde_json::{Value, json};

use super::super::exit::Exit;
use super::super::output::{coloured, line};

/// How a finding is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// It may be meant so.
    Warn,
    /// Requests fail, and the process ends so.
    Fail(Exit),
}

/// One thing that was looked at.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// What was looked at.
    pub(super) check: &'static str,
    /// The fault in one word that stays, for programs; `ok` if there is none.
    pub(super) fault: &'static str,
    /// What was seen.
    pub(super) text: String,
    /// What to do.
    pub(super) remedy: Option<String>,
    /// More lines.
    pub(super) details: Vec<String>,
}

/// What belongs together: the configuration, a source, an upstream.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) findings: Vec<Finding>,
}

/// For whom it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// Lines, as they come.
    Person,
    /// One document, at the end.
    Program,
}

/// All that was found.
#[derive(Debug)]
pub(super) struct Report {
    reader: Reader,
    sections: Vec<Section>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, text: impl Into<String>) -> Self {
        let (text, details) = (text.into(), Vec::new());
        Self { level: Level::Ok, check, fault: "ok", text, remedy: None, details }
    }

    pub(super) fn warn(
        (check, fault): (&'static str, &'static str),
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { level: Level::Warn, fault, remedy: Some(remedy.into()), ..Self::ok(check, text) }
    }

    pub(super) fn fail(
        (check, fault): (&'static str, &'static str),
        exit: Exit,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { level: Level::Fail(exit), ..Self::warn((check, fault), text, remedy) }
    }

    pub(super) fn with(self, details: Vec<String>) -> Self {
        Self { details, ..self }
    }

    fn print(&self) {
        let word = match self.level {
            Level::Ok => "ok    ".to_owned(),
            Level::Warn => coloured("warn  ", 33),
            Level::Fail(_) => coloured("FAIL  ", 31),
        };
        line(format_args!("  {word}{:12}{}", self.check, self.text));
        for detail in &self.details {
            line(format_args!("        {detail}"));
        }
        if let Some(remedy) = &self.remedy {
            line(format_args!("        -> {remedy}"));
        }
    }

    fn json(&self) -> Value {
        json!({
            "level": self.level.name(),
            "check": self.check,
            "fault": self.fault,
            "text": self.text,
            "remedy": self.remedy,
            "details": self.details,
        })
    }
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail(_) => "fail",
        }
    }
}

impl Report {
    pub(super) fn new(reader: Reader) -> Self {
        Self { reader, sections: Vec::new() }
    }

    pub(super) fn add(&mut self, section: Section) {
        if self.reader == Reader::Person {
            line(format_args!("{}  {}", section.name, section.about).to_string().trim_end());
            section.findings.iter().for_each(Finding::print);
        }
        self.sections.push(section);
    }

    /// Ends it, with the exit code.
    pub(super) fn end(self) -> Exit {
        let exit = self.exit();
        let failures = self.findings().filter(|finding| matches!(finding.level, Level::Fail(_))).count();
        let warnings = self.findings().filter(|finding| finding.level == Level::Warn).count();
        match (self.reader, failures, warnings) {
            (Reader::Person, 0, 0) => line("all is well"),
            (Reader::Person, 0, warnings) => {
                line(format_args!("nothing is wrong, {warnings} to look at (warn)"));
            }
            (Reader::Person, 1, _) => line("1 thing is wrong"),
            (Reader::Person, more, _) => line(format_args!("{more} things are wrong")),
            (Reader::Program, ..) => line(self.json(exit)),
        }
        exit
    }

    /// The first of these that anything ends with: what is configured wrongly, what cannot be reached, what is refused.
    fn exit(&self) -> Exit {
        let is_among = |exit: &Exit| self.findings().any(|finding| finding.level == Level::Fail(*exit));
        [Exit::Config, Exit::Unavailable, Exit::Credentials].into_iter().find(is_among).unwrap_or(Exit::Ok)
    }

    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.sections.iter().flat_map(|section| &section.findings)
    }

    fn json(&self, exit: Exit) -> Value {
        let section = |section: &Section| {
            json!({
                "name": section.name,
                "about": section.about,
                "findings": section.findings.iter().map(Finding::json).collect::<Vec<_>>(),
            })
        };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "exit": exit.code(),
            "sections": self.sections.iter().map(section).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Exit, Finding, Reader, Report, Section};

    #[test]
    fn what_is_configured_wrongly_goes_before_what_comes_of_it() {
        let mut report = Report::new(Reader::Program);
        let of = |exits: &[Exit]| Section {
            name: "upstream".to_owned(),
            about: String::new(),
            findings: exits.iter().map(|exit| Finding::fail(("a", "b"), *exit, "c", "d")).collect(),
        };
        assert_eq!(report.exit(), Exit::Ok);
        report.add(of(&[Exit::Credentials]));
        assert_eq!(report.exit(), Exit::Credentials);
        report.add(of(&[Exit::Unavailable]));
        assert_eq!(report.exit(), Exit::Unavailable);
        report.add(of(&[Exit::Config, Exit::Credentials]));
        assert_eq!(report.exit(), Exit::Config);
    }
}
