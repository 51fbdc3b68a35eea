//! docs/metrics.md, generated from the catalogue; a test holds the file to it.

use std::fmt::Write as _;

use super::catalogue::{ALL, OWNER_LABELS, Type};

/// The whole file.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         Generated from `ka-daemon/src/metrics/catalogue.rs`; after a change there run \
         `UPDATE_GOLDEN=1 cargo test -p ka-daemon --test page`.\n\n",
    );
    let owner = OWNER_LABELS.map(|label| format!("`{label}`")).join(", ");
    text.push_str("Owner labels, written {O}: ");
    text.push_str(&owner);
    text.push_str(". A label that does not apply is left empty.\n\n| metric | type | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n");
    for metric in ALL {
        let labels: Vec<_> =
            metric.owner.then_some("{O}").into_iter().chain(metric.labels.iter().copied()).collect();
        let (name, kind, unit, help) = (metric.name, metric.kind.label(), metric.unit.label(), metric.help);
        writeln!(text, "| {name} | {kind} | {unit} | {} | {help} |", labels.join(", "))
            .expect("a string takes everything");
    }
    text.push_str("\nBuckets:\n\n");
    for metric in ALL {
        if let Type::Histogram(bounds) = metric.kind {
            let bounds: Vec<_> = bounds.iter().map(ToString::to_string).collect();
            writeln!(text, "- {}: {}", metric.name, bounds.join(", ")).expect("a string takes everything");
        }
    }
    text.push_str(
        "\nBesides these the page has the usual `process_*` of the daemon itself.\n\n\
         ## What always holds\n\n\
         sent = answered + unanswered + resets of phase `keepalive` that settled a probe + unsettled + pending, \
         with at most one probe pending for each live socket.\n\n\
         Records: emitted = received + lost for reason `undecodable`, once the ring buffer is drained; \
         what was lost for reason `ring_full` or `tracked_full` was never emitted.\n\n\
         ## Answers and round trips\n\n\
         A probe is answered when any acknowledgement is accepted after it was sent: the peer's data, or a late \
         acknowledgement of own data, counts as well as the answer to the probe itself.\n\n\
         A round trip is told only where nothing but the answer can have made it. Left out, and counted in \
         `ka_keepalive_probe_rtt_skipped_total`, is what is ambiguous (an earlier probe went unanswered, whose \
         answer may come late: Karn's rule) and what was disturbed: other segments came or went, data came since \
         the probe, or the program read or wrote in between. With `--rtt exact` the arrival is taken as the \
         answer comes, and only an earlier unanswered probe, or data since the probe, spoils it; in states other \
         than ESTABLISHED the kernel does not show arrivals, and the simple way with all its conditions holds.\n",
    );
    text
}
