//! The codes with which the security module refuses.

use std::fmt;

/// Why the security module did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// No error. The module never sends it; the name exists on the wire.
    Success,
    /// An argument is invalid.
    InvalidArgument,
    /// No such register.
    InvalidIndex,
    /// The response does not belong to the request.
    InvalidResponse,
    /// The register is locked.
    ReadOnlyIndex,
    /// The request could not be understood, or the module cannot do it.
    InvalidOperation,
    /// The response does not fit into the caller's buffer.
    BufferTooSmall,
    /// The caller's input is too large.
    InputTooLarge,
    /// The module failed.
    InternalError,
}

impl ErrorCode {
    /// All codes in the order of AWS's enum.
    pub const ALL: [Self; 9] = [
        Self::Success,
        Self::InvalidArgument,
        Self::InvalidIndex,
        Self::InvalidResponse,
        Self::ReadOnlyIndex,
        Self::InvalidOperation,
        Self::BufferTooSmall,
        Self::InputTooLarge,
        Self::InternalError,
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::InvalidArgument => "InvalidArgument",
            Self::InvalidIndex => "InvalidIndex",
            Self::InvalidResponse => "InvalidResponse",
            Self::ReadOnlyIndex => "ReadOnlyIndex",
            Self::InvalidOperation => "InvalidOperation",
            Self::BufferTooSmall => "BufferTooSmall",
            Self::InputTooLarge => "InputTooLarge",
            Self::InternalError => "InternalError",
        }
    }

    /// The code of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.name() == name)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
