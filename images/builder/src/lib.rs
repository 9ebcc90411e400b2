//! Reproducible enclave images from recipes.
//!
//! An image is a kernel, a command line and two ramdisks: the first boots (init and kernel
//! modules), the second is the application's. The same inputs give the same bytes, whoever builds
//! and wherever: no clock, no host path and no owner gets into an image.
#![forbid(unsafe_code)]

pub mod cli;
mod elf;
pub mod error;
pub mod hash;
pub mod kernel;
pub mod output;
pub mod pack;
pub mod ramdisk;
pub mod recipe;
pub mod report;
pub mod sign;
mod tool;
pub mod tree;

pub use error::Error;
