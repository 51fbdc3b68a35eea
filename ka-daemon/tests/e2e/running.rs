//! A program of the tests in a namespace, which says when it is ready and ends with whoever started it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::net::{Net, Side};

#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// Kept open: a program that prints into a closed pipe would end.
    stdout: Option<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts what says nothing.
    pub(crate) fn start(net: &Net, side: Side, command: &mut Command) -> Result<Self> {
        Ok(Self { child: net.spawn(side, command.stdin(Stdio::null()))?, stdout: None })
    }

    /// Starts what lives as long as its standard input, and waits for its first line, which begins so.
    pub(crate) fn start_ready(net: &Net, side: Side, command: &mut Command, line: &str) -> Result<Self> {
        let name = command.get_program().display().to_string();
        let child = net.spawn(side, command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let mut running = Self { child, stdout: None };
        let stdout = running.child.stdout.take().context("no stdout")?;
        let mut said = String::new();
        let read = running.stdout.insert(BufReader::new(stdout)).read_line(&mut said);
        read.with_context(|| name.clone())?;
        ensure!(said.starts_with(line), "expected {name} to say {line}, came {said:?}");
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only where it ended by itself, which the scenario would have noticed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
