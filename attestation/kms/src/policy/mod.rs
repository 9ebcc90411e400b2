//! Key policies and identity policies with IAM's semantics.
//!
//! A policy is read once, into types that hold only what can be evaluated: an operator, element
//! or variable that is not understood refuses the whole policy, so that evaluation never meets one.
//!
//! # Who is allowed
//!
//! An explicit deny wins, wherever it stands. Otherwise, for a key of the caller's own account,
//! either a key policy statement allows the caller itself, or one allows the account
//! (`arn:aws:iam::<account>:root`) and one of the caller's identity policies allows the call. For
//! a caller of another account both the key policy and an identity policy must allow. What is not
//! about a key needs an identity policy.
//!
//! # Three truths
//!
//! A condition is true, false, or *undecided*: a variable in it has no value, the request's value
//! is of another type, the comparison would take too long, or it asks for an attestation without saying under which root, while more
//! than one is trusted. An undecided Allow does not allow; an undecided Deny denies.
//!
//! # Attestation
//!
//! PCRs say what runs, the root says who vouches for that. Where more than one root is trusted (a
//! laptop's and AWS's, say), a statement with conditions on `kms:RecipientAttestation:…` counts
//! only if it also says `StringEquals` of `anchorhold:RecipientAttestation:RootSha256`. "Deny
//! unless this image under this root" takes two statements, since the conditions of one are joined
//! by *and*: deny `StringNotEquals` of the PCR with `StringEquals` of the root, and deny
//! `StringNotEquals` of the root.
//!
//! `anchorhold:RecipientAttestation:UserData` is the document's user_data in hex, so that a key can
//! be released for one contract only, and `anchorhold:RecipientAttestation:PriorReleases` the number
//! of other documents with this user_data that the key has been released to: `NumericLessThan` of
//! `1` releases it to one run of the contract, however often that run asks.
//!
//! # Where this is stricter than IAM
//!
//! NotPrincipal is for Deny only; empty lists are refused; variables are those that the caller
//! cannot choose; a value of the wrong type or a variable without value makes a Deny deny; two
//! names of the encryption context that differ by case alone satisfy no condition on either. A
//! session (`assumed-role`) is matched by its own ARN, not by its role's.

mod authorize;
mod budget;
mod condition;
mod context;
mod decision;
mod document;
mod element;
mod error;
mod finding;
mod json;
mod keys;
mod lint;
mod operator;
mod principal;
mod statement;
mod template;
mod value;
mod wildcard;

pub use authorize::{AuthorizationRequest, Resource, authorize};
pub use context::Context;
pub use decision::{
    ConditionFailure, Decision, DenyingCondition, ExplicitDeny, FailureReason, Got, ImplicitDeny,
    MissingAllow, PolicySource, Refusal, StatementRef,
};
pub use document::{IdentityPolicy, KeyPolicy, MAX_POLICY, MAX_STATEMENTS};
pub use error::{Place, PolicyError};
pub use finding::{Finding, FindingKind, Severity};
pub use lint::{admit, lint, lint_identity, lockout_check};
