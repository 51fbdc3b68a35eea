//! The contract between the two sides of `ka`: what the kernel programs emit ([`record`], in a
//! [`report`]), the kernel offsets and settings that the daemon hands them ([`layout`]), and the counters that
//! they share ([`counters`]), and what the iterators write ([`socket`]). No I/O, no allocation, no pointers.
#![no_std]

pub mod counters;
pub mod kind;
pub mod layout;
pub mod record;
pub mod report;
pub mod socket;

pub use counters::{Counters, Switches};
pub use kind::{Kind, Suppression, Timer};
pub use layout::{Config, Field, KernelLayout};
pub use record::Record;
pub use report::{Report, Settlement};
pub use socket::{FileRow, RowTimer, SocketRow};
