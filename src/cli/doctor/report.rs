//! The findings of `doctor`: lines for users, one document for programs, and the exit code.

use serde_json::{Value, json};

use super::super::exit::CommandExit;
use super::super::output::{coloured, line};
use super::fault::FaultKind;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FindingLevel {
    /// The check passed.
    Ok,
    /// The finding may be intended.
    Warn,
    /// Requests fail, and the process exits with this code.
    Fail(CommandExit),
}

/// The result of one check.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) level: FindingLevel,
    /// The name of the check.
    pub(super) check: &'static str,
    pub(super) fault: FaultKind,
    /// The observation.
    pub(super) text: String,
    /// The remedy.
    pub(super) remedy: Option<String>,
    /// Additional lines.
    pub(super) details: Vec<String>,
}

/// The findings about one subject: the configuration, a source or an upstream.
#[derive(Debug)]
pub(super) struct ReportSection {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) findings: Vec<Finding>,
}

/// The format of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReportFormat {
    /// Lines for a user, printed as the findings arrive.
    Person,
    /// One document for a program, printed at the end.
    Program,
}

/// All findings.
#[derive(Debug)]
pub(super) struct DoctorReport {
    reader: ReportFormat,
    sections: Vec<ReportSection>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self {
            level: FindingLevel::Ok,
            check,
            fault: FaultKind::None,
            text: text.into(),
            remedy: None,
            details: Vec::new(),
        }
    }

    pub(super) fn warn(
        check: &'static str,
        fault: FaultKind,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { level: FindingLevel::Warn, fault, remedy: Some(remedy.into()), ..Self::ok(check, text) }
    }

    pub(super) fn fail(
        check: &'static str,
        fault: FaultKind,
        exit: CommandExit,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { level: FindingLevel::Fail(exit), ..Self::warn(check, fault, text, remedy) }
    }

    pub(super) fn with(self, details: Vec<String>) -> Self {
        Self { details, ..self }
    }

    fn print(&self) {
        let word = match self.level {
            FindingLevel::Ok => "ok    ".to_owned(),
            FindingLevel::Warn => coloured("warn  ", 33),
            FindingLevel::Fail(_) => coloured("FAIL  ", 31),
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
            "fault": self.fault.name(),
            "text": self.text,
            "remedy": self.remedy,
            "details": self.details,
        })
    }
}

impl FindingLevel {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail(_) => "fail",
        }
    }
}

impl DoctorReport {
    pub(super) fn new(reader: ReportFormat) -> Self {
        Self { reader, sections: Vec::new() }
    }

    pub(super) fn add(&mut self, section: ReportSection) {
        if self.reader == ReportFormat::Person {
            line(format_args!("{}  {}", section.name, section.about).to_string().trim_end());
            section.findings.iter().for_each(Finding::print);
        }
        self.sections.push(section);
    }

    /// Prints the end of the report, and returns the exit code.
    pub(super) fn end(self) -> CommandExit {
        let exit = self.exit();
        let failures =
            self.findings().filter(|finding| matches!(finding.level, FindingLevel::Fail(_))).count();
        let warnings = self.findings().filter(|finding| finding.level == FindingLevel::Warn).count();
        match (self.reader, failures, warnings) {
            (ReportFormat::Person, 0, 0) => line("all checks passed"),
            (ReportFormat::Person, 0, warnings) => {
                line(format_args!("no check failed, warnings: {warnings}"));
            }
            (ReportFormat::Person, 1, _) => line("1 check failed"),
            (ReportFormat::Person, more, _) => line(format_args!("{more} checks failed")),
            (ReportFormat::Program, ..) => line(self.json(exit)),
        }
        exit
    }

    /// Returns the most important exit code of the findings: first invalid configuration, then
    /// unreachable services, then rejected credentials.
    fn exit(&self) -> CommandExit {
        let is_among =
            |exit: &CommandExit| self.findings().any(|finding| finding.level == FindingLevel::Fail(*exit));
        [CommandExit::Config, CommandExit::Unavailable, CommandExit::Credentials]
            .into_iter()
            .find(is_among)
            .unwrap_or(CommandExit::Ok)
    }

    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.sections.iter().flat_map(|section| &section.findings)
    }

    fn json(&self, exit: CommandExit) -> Value {
        let section = |section: &ReportSection| {
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
    use super::{CommandExit, DoctorReport, FaultKind, Finding, ReportFormat, ReportSection};

    #[test]
    fn what_is_configured_wrongly_goes_before_what_comes_of_it() {
        let mut report = DoctorReport::new(ReportFormat::Program);
        let of = |exits: &[CommandExit]| ReportSection {
            name: "upstream".to_owned(),
            about: String::new(),
            findings: exits
                .iter()
                .map(|exit| Finding::fail("a", FaultKind::Refused, *exit, "c", "d"))
                .collect(),
        };
        assert_eq!(report.exit(), CommandExit::Ok);
        report.add(of(&[CommandExit::Credentials]));
        assert_eq!(report.exit(), CommandExit::Credentials);
        report.add(of(&[CommandExit::Unavailable]));
        assert_eq!(report.exit(), CommandExit::Unavailable);
        report.add(of(&[CommandExit::Config, CommandExit::Credentials]));
        assert_eq!(report.exit(), CommandExit::Config);
    }
}
