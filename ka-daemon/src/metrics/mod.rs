//! The page of metrics: the last station of the data path. [`catalogue`] says what there is,
//! `collect` fills it from one snapshot of the table and one look at the kernel side, the
//! `prometheus` crate encodes it.

pub mod catalogue;
mod collect;
pub mod docs;
mod family;
mod page;

pub use page::{Build, Observed, Page, PageError};
