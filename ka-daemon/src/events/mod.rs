//! From the ring buffer to the table: drains bytes ([`ring`], with [`aside`] for busy moments and `half` for
//! its memory), decodes them ([`decode`]), applies them to the table and publishes what it counted ([`pump`]), and
//! writes them to the record log ([`log`]) where one is wanted. Second station of the data path.

pub mod aside;
pub mod decode;
mod half;
pub mod json;
pub mod log;
pub mod pump;
pub mod ring;
pub mod tell;

#[cfg(test)]
mod tests;

pub use log::RecordLog;
pub use pump::{Pump, RecordSource};
