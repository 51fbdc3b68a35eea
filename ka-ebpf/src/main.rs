//! The kernel side of `ka`: hooks that turn runs of the TCP keepalive and write timers, received
//! resets and ends of connections into [`ka_common::Record`]s in a ring buffer.
//!
//! One file per hook family in [`hooks`]; what they share is what a run means ([`run`],
//! [`persist`]), what is kept of a socket ([`tracked`]), how no event of a tracepoint is missed ([`twice`]), how the kernel is read ([`kernel`], in blocks
//! by [`view`]) and how a record leaves ([`emit`]). Nothing is decided here that the daemon could decide.
#![no_std]
#![no_main]

mod close;
mod emit;
mod hooks;
mod kernel;
mod maps;
mod persist;
mod probe;
mod run;
mod tracked;
mod twice;
mod view;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier has proven that no program can reach this.
    loop {}
}

// SAFETY: the section and symbol names are what the kernel's loader asks of a program's licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
