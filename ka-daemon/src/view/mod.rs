//! What people and programs are shown of a socket and of a drop: one set of types for the API, the
//! command line and the page, and what can be asked about them. Pure.

mod advice;
pub mod drops;
pub mod event;
pub mod explain;
#[cfg(test)]
mod explain_tests;
#[cfg(test)]
mod explain_user_timeout_tests;
pub mod filter;
#[cfg(test)]
mod filter_tests;
pub mod idle_timeout;
pub mod page;
pub mod parameter;
pub mod risk;
#[cfg(test)]
mod risk_tests;
pub mod socket;
pub mod sort;
#[cfg(test)]
pub(crate) mod testing;
mod user_timeout;
pub mod words;

pub use drops::{DropView, PassedLimit};
pub use event::Event;
pub use filter::Filter;
pub use idle_timeout::IdleTimeoutView;
pub use socket::SocketView;
pub use sort::SortKey;
