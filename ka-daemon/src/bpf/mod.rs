//! The kernel side, attached: the first step of the data path that runs. [`plan`] says as data
//! which program hangs where, [`object`] loads, [`attach`] tries plans until each intent has one,
//! [`stats`] reads what the kernel knows about the programs, [`iter`] opens iterators. Only this module and the ring
//! reader touch aya.

mod attach;
mod error;
mod iter;
mod object;
mod plan;
mod stats;

pub use attach::{KernelHooks, Options, Tried, probe};
pub use error::BpfError;
pub use plan::{HookKind, Spec, TABLE, required};
