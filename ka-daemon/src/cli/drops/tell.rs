//! A drop as text or JSON, and whether it is one that was asked for. Pure.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::args::show::DropsArgs;
use crate::view::DropView;
use crate::view::filter::is_process;
use crate::view::words::printable;

/// How drops are told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Teller<'a> {
    pub(super) zone: &'a TimeZone,
    pub(super) json: bool,
    pub(super) advice: bool,
    pub(super) color: bool,
}

impl Teller<'_> {
    /// Time, cause and sentence on a line; advice on the next one. Or an object a line.
    pub(super) fn write(self, drop: &DropView, out: &mut impl Write) -> io::Result<()> {
        if self.json {
            serde_json::to_writer(&mut *out, drop)?;
            return out.write_all(b"\n");
        }
        let [cause, dimmed] = if self.color {
            [Style::new().bold().fg_color(Some(AnsiColor::Yellow.into())), Style::new().dimmed()]
        } else {
            [Style::new(); 2]
        };
        let time = local_time(drop.time_seconds, self.zone);
        let (label, summary) = (printable(&drop.cause), printable(&drop.summary));
        writeln!(out, "{time} {cause}{label}{cause:#} {summary}")?;
        if self.advice && !drop.advice.is_empty() {
            writeln!(out, "    {dimmed}{}{dimmed:#}", printable(&drop.advice))?;
        }
        Ok(())
    }
}

/// RFC 3339 with the offset of that moment.
fn local_time(seconds: f64, zone: &TimeZone) -> String {
    formatted(seconds, zone, "%Y-%m-%dT%H:%M:%S%:z")
}

/// The time of the day.
pub(in crate::cli) fn clock_time(seconds: f64, zone: &TimeZone) -> String {
    formatted(seconds, zone, "%H:%M:%S")
}

fn formatted(seconds: f64, zone: &TimeZone, format: &str) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "saturates; what is out of range is shown as it is")]
    match Timestamp::from_millisecond((seconds * 1e3).round() as i64) {
        Ok(time) => time.to_zoned_datetime(zone.clone()).strftime(format).to_string(),
        Err(_) => format!("@{seconds}"),
    }
}

/// Whether the options ask for a drop.
pub(super) fn asked_for(args: &DropsArgs, drop: &DropView) -> bool {
    let owner = &drop.owner;
    let same = |asked: &Option<String>, has: &str| asked.as_deref().is_none_or(|asked| asked == has);
    args.process.as_deref().is_none_or(|process| is_process(owner, process))
        && same(&args.pod, &owner.pod)
        && same(&args.namespace, &owner.namespace)
        && (args.cause.is_empty() || args.cause.contains(&drop.cause))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::owner::Owner;
    use crate::view::testing::dropped;

    fn shown(teller: Teller<'_>, drop: &DropView) -> String {
        let mut out = Vec::new();
        teller.write(drop, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn two_lines_or_one() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let teller = Teller { zone: &zone, json: false, advice: true, color: false };
        let drop = DropView {
            time_seconds: 1_763_998_511.4,
            cause: "reset_by_probe".to_owned(),
            summary: "server lost it.\x1b[2J".to_owned(),
            advice: "Do something.".to_owned(),
            ..dropped()
        };
        let first = "2025-11-24T16:35:11+01:00 reset_by_probe server lost it.\u{fffd}[2J\n";
        assert_eq!(shown(teller, &drop), format!("{first}    Do something.\n"));
        assert_eq!(shown(Teller { advice: false, ..teller }, &drop), first);
        assert_eq!(shown(teller, &DropView { advice: String::new(), ..drop.clone() }), first);
        assert_eq!(
            shown(Teller { color: true, ..teller }, &drop),
            "2025-11-24T16:35:11+01:00 \u{1b}[1m\u{1b}[33mreset_by_probe\u{1b}[0m server lost it.\u{fffd}[2J\n    \
             \u{1b}[2mDo something.\u{1b}[0m\n"
        );
        let json = shown(Teller { json: true, ..teller }, &drop);
        assert_eq!(json.matches('\n').count(), 1);
        assert_eq!(serde_json::from_str::<DropView>(&json).unwrap(), drop);
    }

    #[test]
    fn times_are_local_with_their_offset() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        assert_eq!(local_time(1_750_000_000.0, &zone), "2025-06-15T17:06:40+02:00");
        assert_eq!(local_time(0.0, &TimeZone::UTC), "1970-01-01T00:00:00+00:00");
        assert_eq!(clock_time(0.4, &zone), "01:00:00");
        assert_eq!(local_time(1e300, &zone), format!("@{}", 1e300));
    }

    #[test]
    fn options_select_by_owner_and_cause() {
        let drop = DropView {
            cause: "reset".to_owned(),
            owner: Owner {
                comm: "a-very-long-nam".to_owned(),
                exe: "/usr/bin/a-very-long-name".to_owned(),
                pod: "cart-0".to_owned(),
                namespace: "shop".to_owned(),
                ..Owner::default()
            },
            ..dropped()
        };
        for (options, expected) in [
            (&[][..], true),
            (&["--process", "a-very-long-nam"], true),
            (&["--process", "a-very-long-name"], true),
            (&["--process", "a-very"], false),
            (&["--pod", "cart-0", "--namespace", "shop", "--cause", "aborted,reset"], true),
            (&["--pod", "cart-1"], false),
            (&["--namespace", "sho"], false),
            (&["--cause", "aborted"], false),
        ] {
            let cli = Cli::try_parse_from([&["ka-daemon", "drops"], options].concat()).unwrap();
            let Command::Drops(args) = cli.into_command() else { panic!("not drops") };
            assert_eq!(asked_for(&args, &drop), expected, "{options:?}");
        }
    }
}
