//! The programs: one file per hook family. Each finds the socket and calls what the event means.

pub(crate) mod fentry;
pub(crate) mod iter;
pub(crate) mod kprobe;
pub(crate) mod timer;
pub(crate) mod tracing;
