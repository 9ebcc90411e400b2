//! The PII application's frames, as their carrier sees them. The carrier decides
//! nothing; it only keeps the order and the bounds.

/// The vsock port of the application.
pub const PORT: u32 = 5005;

/// The owner's job.
pub const JOB: u8 = 0x01;
/// The owner's challenge.
pub const CHALLENGE: u8 = 0x02;
/// The enclave principal's credentials.
pub const CREDENTIALS: u8 = 0x03;
/// The sealed token key.
pub const TOKEN_KEY: u8 = 0x04;
/// A piece of the sealed records.
pub const RECORDS: u8 = 0x05;
/// The end of the records.
pub const END: u8 = 0x06;
/// A piece of the sealed rows.
pub const ROWS: u8 = 0x81;
/// A piece of the sealed report.
pub const REPORT: u8 = 0x82;
/// The key of rows and report, for those who may have them.
pub const RELEASE: u8 = 0x83;
/// The attestation document of the answer.
pub const DOCUMENT: u8 = 0x84;
/// The end of the answer.
pub const DONE: u8 = 0x85;
/// The enclave refuses; JSON `{"rule", "message"}`.
pub const REFUSED: u8 = 0xFF;
