//! Set-up, demo, test and bench: the README's commands.
//!
//! Everything here is orchestration of the project's own programs as processes, as an operator
//! would run them. Nothing here is linked into what it starts.
#![forbid(unsafe_code)]

pub mod bench;
pub mod check;
pub mod commands;
pub mod demo;
pub mod paths;
pub mod scene;
pub mod setup;
pub mod soak;
pub mod stage;
pub mod test;
