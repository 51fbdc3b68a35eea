//! The table of docs/presets.md, made from the data; a test holds the file to it.

use std::fmt::Write as _;

use super::{Expected, Preset};

/// The table in Markdown, a row for each combination of settings, and the sources below it.
#[must_use]
pub fn table(presets: &[Preset]) -> String {
    let mut text = String::from(
        "| preset | idle | interval | count | process | what sets it |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for preset in presets {
        let processes: Vec<_> = preset.processes.iter().map(|name| format!("`{}`", cell(name))).collect();
        let processes = if processes.is_empty() { "any".to_owned() } else { processes.join(", ") };
        for pattern in &preset.patterns {
            let [idle, interval, count] = pattern.parts().map(word);
            let (name, title) = (&preset.name, cell(&preset.title));
            writeln!(text, "| `{name}` | {idle} | {interval} | {count} | {processes} | {title} |")
                .expect("a string takes everything");
        }
    }
    text.push_str("\n## Sources\n");
    for preset in presets {
        let note = preset.note.iter().map(|note| format!(" {note}"));
        let read = preset.read.iter().map(|date| format!(" Read on {date}."));
        writeln!(text, "\n`{}`:{}\n", preset.name, note.chain(read).collect::<String>())
            .expect("a string takes everything");
        for source in &preset.sources {
            writeln!(text, "- {source}").expect("a string takes everything");
        }
    }
    text
}

/// Text that may stand in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn word(expected: Expected) -> String {
    match expected {
        Expected::Any => "any".into(),
        Expected::Set => "set".into(),
        Expected::Sysctl => "sysctl".into(),
        Expected::Value(value) => value.to_string(),
    }
}
