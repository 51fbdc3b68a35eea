//! The record log (`--record-log`): every record as one line of JSON, for support and for tests.
//! Format: docs/record-log.md.

use super::json::Line;
use crate::table::{Clock, Outcome};
use ka_common::Record;
use rustix::fs::{OFlags, major, minor};
use std::fs::{Metadata, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Why the record log does not work.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be made.
    #[error("cannot create the record log {}: {source}; give --record-log a path that can be written", path.display())]
    Create {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is there is no file, and may block.
    #[error(
        "the record log {} is {what}, which holds up the daemon when nobody reads it; give --record-log a regular \
         file, and read that with `tail -F`", path.display()
    )]
    NotAFile {
        /// Where.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// A line cannot be written.
    #[error("cannot write to the record log {}: {source}; no further records are logged", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A log to a file, or to anything in tests. The first write error ends it; the daemon goes on.
pub struct RecordLog {
    path: PathBuf,
    out: Option<BufWriter<Box<dyn Write + Send>>>,
    /// Lines written since the last flush: what a failing file takes with it, at most.
    unflushed: u64,
    lost: u64,
}

impl RecordLog {
    /// Starts a log in a new file; an old one of that name is replaced.
    ///
    /// # Errors
    /// When the file cannot be made, or when something else is there: lines are written by the task that reads
    /// the kernel's records, and what blocks it would stop everything.
    pub fn create(path: &Path) -> Result<Self, LogError> {
        let created = |source| LogError::Create { path: path.to_owned(), source };
        // What is there is looked at before it is opened, which means something to a terminal or a FIFO, and
        // again through the descriptor, by which nothing else can take its place.
        if let Ok(there) = std::fs::metadata(path) {
            check(path, &there)?;
        }
        let nonblocking = OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(nonblocking.bits().cast_signed())
            .open(path)
            .map_err(created)?;
        let there = file.metadata().map_err(created)?;
        check(path, &there)?;
        if there.is_file() {
            file.set_len(0).map_err(created)?;
        }
        Ok(Self::to(path, Box::new(file)))
    }

    /// A log to any writer, called by this path in errors.
    #[must_use]
    pub fn to(path: &Path, out: Box<dyn Write + Send>) -> Self {
        Self {
            path: path.to_owned(),
            out: Some(BufWriter::with_capacity(1 << 16, out)),
            unflushed: 0,
            lost: 0,
        }
    }

    /// Records that were not written, or not for certain, because the log failed.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Writes one line, sooner or later.
    pub fn write(&mut self, record: &Record, outcome: &Outcome, clock: Clock) {
        let Some(out) = &mut self.out else {
            self.lost += 1;
            return;
        };
        self.unflushed += 1;
        let line = Line::new(record, outcome, clock);
        let written = serde_json::to_writer(&mut *out, &line).map_err(io::Error::from);
        if let Err(source) = written.and_then(|()| out.write_all(b"\n")) {
            self.fail(source);
        }
    }

    /// Brings everything written so far to the file.
    pub fn flush(&mut self) {
        match self.out.as_mut().map(Write::flush) {
            Some(Err(source)) => self.fail(source),
            Some(Ok(())) => self.unflushed = 0,
            None => {}
        }
    }

    /// Ends the log. Its buffer is thrown away unwritten: dropping it would try again.
    fn fail(&mut self, source: io::Error) {
        self.lost += std::mem::take(&mut self.unflushed);
        if let Some(out) = self.out.take() {
            let (_, _unwritten) = out.into_parts();
        }
        let path = self.path.clone();
        tracing::error!("{}", LogError::Write { path, source });
    }
}

/// Refuses what a write to may block. `/dev/null` and `/dev/full` never do.
fn check(path: &Path, there: &Metadata) -> Result<(), LogError> {
    const MEMORY: u32 = 1;
    const NULL: u32 = 3;
    const FULL: u32 = 7;
    let kind = there.file_type();
    let (device, number) = (major(there.rdev()), minor(there.rdev()));
    let what = if kind.is_fifo() {
        "a FIFO or a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() {
        "a block device"
    } else if kind.is_char_device() && !(device == MEMORY && matches!(number, NULL | FULL)) {
        "a terminal or another device"
    } else {
        return Ok(());
    };
    Err(LogError::NotAFile { path: path.to_owned(), what })
}
