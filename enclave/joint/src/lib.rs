//! Joint analysis of several owners' files: what they agree on, and what is computed from it.
//!
//! Everything here is pure: no socket, no file, no clock. An enclave application brings contract,
//! approvals and opened files in; what each party may see and a statement over it come out. The
//! same crate is used by a party's own program, so that both sides check the same rules.
//!
//! In the order of use: a [`contract`] is one canonical document; each party seals its file under
//! the [`contexts`] that name it and signs an [`approval`]; the enclave reads each file into a
//! [`table`] of keyed tags; [`compute`] joins them and withholds what is too small to show;
//! [`outputs`] cuts the result to what each party may see, and [`statement`] binds the sealed
//! answers to the contract.
#![forbid(unsafe_code)]

pub mod approval;
pub mod compute;
pub mod contexts;
pub mod contract;
pub mod decimal;
pub mod join;
pub mod keys;
pub mod outputs;
pub mod pages;
pub mod privacy;
pub mod rows;
pub mod statement;
pub mod suppression;
pub mod table;
pub mod wide;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod testing;
