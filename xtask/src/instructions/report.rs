// SPDX-License-Identifier: MIT OR Apache-2.0
//! The comparison of counts with a baseline: [`Report`].

use super::baseline::{Baseline, Count};
use std::fmt;

/// By which part a count may grow.
const SLACK: f64 = 0.02;
/// Less than this is not a growth, also of what costs little.
const LEAST: f64 = 1.0;

/// How the count of one operation compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// As before, or nearly.
    Same,
    /// More than it may.
    Grown,
    /// So much less that the baseline would hide a growth.
    Shrunk,
    /// The baseline does not have it.
    New,
    /// Only the baseline has it.
    Gone,
}

/// An operation in the baseline and as counted.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    case: String,
    before: Option<f64>,
    now: Option<f64>,
}

impl Row {
    fn verdict(&self) -> Verdict {
        let (before, now) = match (self.before, self.now) {
            (Some(before), Some(now)) => (before, now),
            (None, _) => return Verdict::New,
            (_, None) => return Verdict::Gone,
        };
        let differs = |less: f64, more: f64| more > less * (1.0 + SLACK) && more - less >= LEAST;
        if differs(before, now) {
            Verdict::Grown
        } else if differs(now, before) {
            Verdict::Shrunk
        } else {
            Verdict::Same
        }
    }
}

/// Counts beside those of a baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    rows: Vec<Row>,
    /// Whose the baseline is and whose the counts are, if that is not the same.
    strangers: Option<[String; 2]>,
}

impl Report {
    /// Compares what was counted with a baseline.
    #[must_use]
    pub fn new(before: &Baseline, now: &Baseline) -> Self {
        let find = |counts: &[Count], case: &str| {
            let count = counts.iter().find(|count| count.case == case);
            count.map(|count| count.instructions)
        };
        let counted = now.counts.iter().map(|count| Row {
            case: count.case.clone(),
            before: find(&before.counts, &count.case),
            now: Some(count.instructions),
        });
        let gone = before.counts.iter().map(|count| Row {
            case: count.case.clone(),
            before: Some(count.instructions),
            now: find(&now.counts, &count.case),
        });
        let gone = gone.filter(|row| row.now.is_none());
        let strangers = [before.origin.clone(), now.origin.clone()];
        Self {
            rows: counted.chain(gone).collect(),
            strangers: (before.origin != now.origin).then_some(strangers),
        }
    }

    /// Returns whether the counts may be what they are: nothing has grown, and the baseline has just these operations.
    /// Counts of others than the baseline always may.
    #[must_use]
    pub fn passes(&self) -> bool {
        let bad = [Verdict::Grown, Verdict::New, Verdict::Gone];
        self.strangers.is_some() || !bad.iter().any(|bad| self.has(*bad))
    }

    fn has(&self, verdict: Verdict) -> bool {
        self.rows.iter().any(|row| row.verdict() == verdict)
    }
}

/// A table, and below it what follows.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = ("operation", "baseline", "now", "change");
        writeln!(
            f,
            "{:<28} {:>10} {:>10} {:>9}",
            table.0, table.1, table.2, table.3
        )?;
        for row in &self.rows {
            let number =
                |count: Option<f64>| count.map_or("-".into(), |count| format!("{count:.2}"));
            let change = row.before.zip(row.now).map_or("-".into(), |(before, now)| {
                format!("{:+.2} %", (now / before - 1.0) * 100.0)
            });
            let remark = match row.verdict() {
                Verdict::Same => "",
                Verdict::Grown => "  GROWN",
                Verdict::Shrunk => "  shrunk",
                Verdict::New => "  NOT IN THE BASELINE",
                Verdict::Gone => "  NOT COUNTED ANY MORE",
            };
            let (case, before, now) = (&row.case, number(row.before), number(row.now));
            writeln!(f, "{case:<28} {before:>10} {now:>10} {change:>9}{remark}")?;
        }
        let save = "cargo xtask instructions --save";
        if let Some([theirs, ours]) = &self.strangers {
            return write!(
                f,
                "nothing is decided: the baseline is by {theirs}, and this is {ours}"
            );
        }
        if !self.passes() {
            return write!(
                f,
                "the baseline does not hold; if the change is worth it, commit with it what this writes: {save}"
            );
        }
        if self.has(Verdict::Shrunk) {
            return write!(f, "better than the baseline; to keep it that way: {save}");
        }
        write!(f, "the baseline holds")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(origin: &str, counts: &[(&str, f64)]) -> Baseline {
        let counts = counts.iter().map(|&(case, instructions)| Count {
            case: case.into(),
            instructions,
        });
        Baseline {
            origin: origin.into(),
            counts: counts.collect(),
        }
    }

    fn compare(before: f64, now: f64) -> (bool, String) {
        let report = Report::new(&by("us", &[("send", before)]), &by("us", &[("send", now)]));
        (report.passes(), report.to_string())
    }

    #[test]
    fn a_growth_of_more_than_2_per_cent_fails() {
        for (before, now, passes) in [
            (400.0, 400.0, true),
            (400.0, 408.0, true),
            (400.0, 408.1, false),
            (400.0, 200.0, true),
            (10.0, 10.9, true),
            (10.0, 11.0, false),
        ] {
            let (passed, text) = compare(before, now);
            assert_eq!(passed, passes, "{text}");
            assert_eq!(!passed, text.contains("GROWN"), "{text}");
        }
        let (_, text) = compare(400.0, 410.0);
        assert!(text.contains("+2.50 %  GROWN"), "{text}");
        assert!(text.ends_with("cargo xtask instructions --save"), "{text}");
    }

    #[test]
    fn what_became_better_is_asked_to_be_saved() {
        let (_, text) = compare(400.0, 390.0);
        assert!(text.contains("-2.50 %  shrunk"), "{text}");
        assert!(text.ends_with("cargo xtask instructions --save"), "{text}");
        let (_, text) = compare(400.0, 395.0);
        assert!(text.ends_with("the baseline holds"), "{text}");
    }

    #[test]
    fn an_operation_that_only_one_side_has_fails() {
        let (one, two) = (by("us", &[("a", 1.0)]), by("us", &[("a", 1.0), ("b", 1.0)]));
        for (report, remark) in [
            (Report::new(&one, &two), "NOT IN THE BASELINE"),
            (Report::new(&two, &one), "NOT COUNTED ANY MORE"),
        ] {
            assert!(!report.passes());
            assert!(report.to_string().contains(remark), "{report}");
        }
    }

    #[test]
    fn another_compiler_decides_nothing_and_the_report_says_so() {
        let report = Report::new(&by("us", &[("a", 10.0)]), &by("them", &[("a", 99.0)]));
        assert!(report.passes());
        let text = report.to_string();
        assert!(text.contains("GROWN"), "{text}");
        assert!(text.contains("nothing is decided: the baseline is by us, and this is them"));
    }
}
