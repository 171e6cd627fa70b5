//! Aggregates rounds into medians, and prints a table of medians and ratios.

use std::collections::BTreeMap;

use super::scenario::{Measured, Scenario};

/// The results of each subject in each round of a scenario.
#[derive(Default)]
pub(crate) struct Table(BTreeMap<String, Vec<(&'static str, Vec<Measured>)>>);

/// The subject that another one is compared with, besides nginx.
struct ReferenceSubject {
    name: &'static str,
    /// The highest acceptable ratio to it, if there is a goal.
    bar: Option<f64>,
}

impl ReferenceSubject {
    fn find(subject: &str) -> Option<Self> {
        match subject {
            "proxy" => Some(Self { name: "base", bar: None }),
            "verifying" => Some(Self { name: "proxy", bar: Some(1.15) }),
            "auditing" => Some(Self { name: "proxy", bar: Some(1.25) }),
            "verifying-10k" => Some(Self { name: "verifying", bar: Some(1.03) }),
            _ => None,
        }
    }
}

impl Table {
    pub(crate) fn add(&mut self, scenario: &Scenario, subject: &'static str, measured: Measured) {
        let rows = self.0.entry(scenario.name.clone()).or_default();
        match rows.iter_mut().find(|(name, _)| *name == subject) {
            Some((_, rounds)) => rounds.push(measured),
            None => rows.push((subject, vec![measured])),
        }
    }

    /// Prints the rows of a scenario. A ratio is the median of the ratios within each round,
    /// followed by their minimum and maximum.
    pub(crate) fn print(&self, scenario: &Scenario) {
        let Some(rows) = self.0.get(&scenario.name) else { return };
        let rounds_of =
            |wanted: &str| rows.iter().find(|(name, _)| *name == wanted).map(|(_, rounds)| rounds);
        let beside = rounds_of("nginx");
        let bar = scenario.bar.map_or_else(String::new, |bar| format!(", bar {bar:.2}"));
        println!("\n{} ({}{bar})", scenario.name, scenario.unit);
        for (name, rounds) in rows {
            let costs: Vec<f64> = rounds.iter().map(|one| one.cost).collect();
            let mut line = format!("  {name:13} {:9.1}", median(&costs));
            line.push_str(&ratio(rounds, beside, ""));
            if let Some(ReferenceSubject { name, bar }) = ReferenceSubject::find(name) {
                let bar = bar.map_or_else(String::new, |bar| format!(", bar {bar:.2}"));
                line.push_str(&ratio(rounds, rounds_of(name), &format!(" to {name}{bar}")));
            }
            for (index, (unit, _)) in rounds[0].rest.iter().enumerate() {
                let values: Vec<f64> = rounds.iter().map(|one| one.rest[index].1).collect();
                line.push_str(&format!("   {:.1} {unit}", median(&values)));
            }
            println!("{line}");
        }
    }
}

/// Returns the ratio of the costs, round by round. Empty if there is nothing to compare with.
fn ratio(rounds: &[Measured], others: Option<&Vec<Measured>>, to: &str) -> String {
    let pairs = rounds.iter().zip(others.into_iter().flatten());
    let ratios: Vec<f64> = pairs.map(|(one, other)| one.cost / other.cost).collect();
    if !median(&ratios).is_finite() {
        return String::new();
    }
    format!("   x{:.2} ({:.2}-{:.2}){to}", median(&ratios), min(&ratios), max(&ratios))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn min(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn max(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}
