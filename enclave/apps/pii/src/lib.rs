//! Processes personal records inside an enclave and answers without them.
//!
//! All but [`services`] is pure: the job, the records and the token key go in, disclosed rows, a
//! report and a statement come out. [`services`] joins it to the security module and the KMS, `main`
//! to vsock.
//!
#![doc = include_str!("manual.md")]
#![forbid(unsafe_code)]

pub mod answer;
pub mod column;
pub mod contexts;
pub mod job;
pub mod processor;
pub mod recognise;
pub mod report;
pub mod rows;
pub mod services;
pub mod session;
pub mod statement;
pub mod token;
pub mod wire;
