//! `--list`: the modules, and the jobs that each of them has now.

use std::fmt::Write as _;

use netdata_plugin::module::Job;

use crate::config::Switches;
use crate::modules::{Context, MODULES, Module};

/// A table of modules and jobs. `wanted` are those asked for; none asked for means all.
#[must_use]
pub fn list(context: &Context, wanted: &[String], only: Option<&str>) -> String {
    let mut switches = Switches::new(&context.config, MODULES.iter().map(|m| m.name).collect());
    let mut rows = vec![row(["MODULE", "JOB", "EVERY", "SOURCE"])];
    for module in MODULES {
        let asked = wanted.iter().any(|name| name == module.name);
        if !asked && !wanted.is_empty() {
            continue;
        }
        if asked || switches.runs(module.name) {
            rows.extend(jobs(module, context, only));
        } else {
            rows.push(row([module.name, "-", "-", "switched off in rs.d.conf"]));
        }
    }
    table(&rows)
}

type Row = [String; 4];

fn row(cells: [&str; 4]) -> Row {
    cells.map(str::to_owned)
}

fn jobs(module: &'static Module, context: &Context, only: Option<&str>) -> Vec<Row> {
    let found = match (module.open)(context).discover() {
        Ok(found) => found,
        Err(error) => return vec![row([module.name, "-", "-", &format!("{error:#}")])],
    };
    let wanted = |job: &&Job| only.is_none_or(|only| job.name == only);
    let mut rows: Vec<Row> = found
        .iter()
        .filter(wanted)
        .map(|job| {
            let source = if job.settings.listed {
                format!("rs.d/{}.conf", module.name)
            } else {
                "found by itself".to_owned()
            };
            let every = format!("{} s", job.update_every);
            [module.name.to_owned(), job.name.clone(), every, source]
        })
        .collect();
    rows.sort();
    if rows.is_empty() {
        rows.push(row([module.name, "-", "-", "nothing found"]));
    }
    rows
}

/// Columns as wide as their widest cell. Names come from processes: control characters are spelled out.
fn table(rows: &[Row]) -> String {
    let clean = |cell: &String| -> String {
        let spelled = cell.chars().map(|c| if c.is_control() { '?' } else { c });
        spelled.collect()
    };
    let rows: Vec<Row> = rows.iter().map(|row| row.each_ref().map(clean)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 3] = std::array::from_fn(|column| width(column).unwrap_or_default());
    let mut text = String::new();
    for [module, job, every, source] in &rows {
        let [w0, w1, w2] = widths;
        let _ = writeln!(text, "{module:w0$}  {job:w1$}  {every:>w2$}  {source}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_a_name_cannot_leave_its_cell() {
        let rows = [
            row(["MODULE", "JOB", "EVERY", "SOURCE"]),
            row(["sglang", "a\nb\u{1b}[31m", "5 s", "found by itself"]),
        ];
        assert_eq!(
            table(&rows),
            "MODULE  JOB       EVERY  SOURCE\nsglang  a?b?[31m    5 s  found by itself\n"
        );
    }
}
