//! What people and programs are shown of a socket and of a drop: one set of types for the API, the
//! command line and the page, and what can be asked about them. Pure.

pub mod drops;
pub mod event;
pub mod explain;
pub mod filter;
pub mod socket;

pub use drops::DropView;
pub use event::Event;
pub use socket::SocketView;
