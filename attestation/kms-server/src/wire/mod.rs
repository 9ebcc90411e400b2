//! The wire: JSON 1.1 requests to validated inputs, outputs to JSON.
//!
//! Source of shapes, bounds and enumerations: the API model `kms/2014-11-01` that
//! botocore ships. Unknown members are ignored, `null` counts as absent, as with AWS.

mod answer;
mod input;
mod marker;
mod parse;
mod reader;
mod target;

pub use answer::*;
pub use input::*;
pub use marker::Marker;
pub use target::Target;
