//! An AWS KMS compatible server that releases keys to attested code.
//!
//! What is decided, and by which rules, stands in `anchorhold-kms-core`. Here is what
//! surrounds the decisions:
//!
//! * [`server`]: sockets, TLS, HTTP, limits;
//! * [`sigv4`]: who signed a request;
//! * [`wire`]: JSON 1.1 to validated inputs, outputs to JSON;
//! * [`service`]: each call from authentication to answer;
//! * [`store`]: SQLite, one writer, event and change in one transaction;
//! * [`audit`]: CloudTrail-shaped events in a hash chain;
//! * [`instance`], [`data_dir`]: a KMS on disk.
//!
//! # Promises
//!
//! * An acknowledged change is on disk, and so is its audit event: both are one transaction,
//!   committed with `synchronous=FULL` before the answer leaves.
//! * If the event cannot be written, the answer is not given.
//! * Key material, secret access keys and the audit key are on disk only wrapped under the root
//!   key (`root.key`). Whoever reads that file and the database has everything.
//! * Plaintext is in no log, no event and no error.
//!
//! # Beside AWS's wire
//!
//! Clients of AWS ignore all of it:
//!
//! * every refusal has the header `x-anchorhold-rule` with the stable name of its rule;
//! * CreateKey and PutKeyPolicy answer with a member `Warnings` when the policy has something
//!   its author should know;
//! * `X-Amz-Target: AnchorholdService.GetAttestationNonce` with the body `{}` answers
//!   `{"Nonce":"<base64 of 32 bytes>","ValidUntil":<seconds>}`. Every principal may ask, unless
//!   a policy denies it `anchorhold:GetAttestationNonce`.
//!
//! A `Recipient` is refused as follows: `ValidationException` for what is no attestation
//! document, `AccessDeniedException` for one that is not believed (root, chain, signature, age,
//! debug mode, nonce) and for one whose measurements no policy allows.
//!
//! # Release counting
//!
//! The KMS counts, for each key and each `user_data`, the attestation documents that it has
//! released to, in the transaction of the release and its audit event. Policies limit it by
//! `NumericLessThan` of `anchorhold:RecipientAttestation:PriorReleases`; a document presented again
//! is not counted against itself. The count is the KMS's own: whoever restores an older copy of its
//! data directory restores the older count.
//!
//! # Where it differs from AWS
//!
//! * There are no session tokens: no service here issues temporary credentials, and a request with
//!   `X-Amz-Security-Token` is refused (`signature.session-token`). A client that insists on a token,
//!   as kmstool_enclave_cli does, cannot be used as it is.
//! * Refusals of callers who are not authenticated are recorded up to a burst of 300, then one a
//!   second, with the number of those in between: strangers must not fill the disk.
//!
//! # What it does not promise
//!
//! Memory of the process is not protected from root or its own user on the host. A signed
//! request can be replayed within five minutes by whoever can read it: serve over TLS.
#![forbid(unsafe_code)]

pub mod audit;
mod clock;
pub mod data_dir;
pub mod instance;
mod random;
pub mod server;
pub mod service;
pub mod sigv4;
pub mod store;
pub mod wire;
