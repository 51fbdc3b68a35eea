//! Opens iterators: each reading is a link and a file of its own. An iterator of sockets sees the network
//! namespace of the thread that opens it.

use std::fs::File;
use std::io;

use aya::programs::{Iter, ProgramError};

use super::attach::{KernelHooks, Options};
use super::error::chain;
use super::plan::{ITER_FILE, ITER_TCP};
use super::{BpfError, object};
use crate::inventory::source::Iterators;
use crate::kernel::Kernel;
use crate::status::Intent;

impl KernelHooks {
    /// The iterators alone, for a look at the sockets without a daemon. Nothing is attached.
    ///
    /// # Errors
    /// When not even the maps can be made. What cannot be loaded is told by [`Self::status`].
    pub fn iterators(kernel: &Kernel, options: &Options) -> Result<Self, BpfError> {
        let btf = object::read_btf(&kernel.btf_path)?;
        let mut hooks = Self::prepare(kernel, &btf, options)?;
        for intent in [Intent::Sockets, Intent::Holders] {
            hooks.try_intent(intent, None, &btf, kernel);
        }
        Ok(hooks)
    }

    fn open(&self, program: &str) -> io::Result<File> {
        let mut ebpf = self.lock();
        let program = ebpf.program_mut(program).ok_or_else(|| io::Error::other("not in the object file"))?;
        let mut attach = || {
            let program: &mut Iter = program.try_into()?;
            let link = program.attach()?;
            program.take_link(link)
        };
        let link = attach().map_err(|error: ProgramError| io::Error::other(chain(&error)))?;
        link.into_file().map_err(|error| io::Error::other(chain(&error)))
    }
}

impl Iterators for KernelHooks {
    fn sockets(&self) -> io::Result<File> {
        self.open(ITER_TCP)
    }

    fn holders(&self) -> io::Result<File> {
        self.open(ITER_FILE)
    }

    fn missing(&self, intent: Intent) -> Option<String> {
        let status = self.intents().iter().find(|status| status.intent == intent);
        match status {
            Some(status) if status.plan.is_some() => None,
            Some(status) => Some(status.reason.clone()),
            None => Some("not tried".to_owned()),
        }
    }
}
