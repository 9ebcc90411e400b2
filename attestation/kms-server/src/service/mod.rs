//! What a call does: authenticate, parse, decide, commit with its audit event, answer.
//!
//! Nothing here knows of sockets. Time is an argument.

mod access;
mod aliases;
mod cryptography;
mod keys;
mod nonce;
mod policies;
mod recipient;
mod refusal;
mod release;
mod sweep;

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use anchorhold_kms_core::arn::PrincipalArn;
use anchorhold_kms_core::attestation::{RecipientClaims, RecipientRules};
use anchorhold_kms_core::material::RootKey;
use anchorhold_kms_core::policy::IdentityPolicy;
use anchorhold_kms_core::{Exception, KmsError};
use http::HeaderMap;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use crate::audit::RefusalMeter;
use crate::audit::event::{Event, Identity, Origin, Trail};
use crate::store::{Change, CommitError, Entry, Expectation, Home, PrincipalRecord, Store, Writer};
use crate::wire::{AnswerBody, Input, Target};

pub use access::ACCESS_KEY_PURPOSE;
pub use nonce::{MAX_PER_PRINCIPAL, MAX_PRINCIPALS, NONCE_LENGTH, NONCE_LIFETIME, NonceError};
pub use refusal::{Answer, busy};

use nonce::Nonces;

/// How often a decision is taken when its ground changes before it is committed. From the
/// second time on no other call decides meanwhile; only the command line still can.
const MAX_ATTEMPTS: usize = 4;

/// The KMS.
pub struct Service {
    store: Store,
    writer: Writer,
    root_key: RootKey,
    /// Which attestation documents count.
    rules: Arc<RecipientRules>,
    nonces: Nonces,
    meter: RefusalMeter,
    /// Shared by calls that decide and commit; taken alone by one whose ground has changed.
    turn: RwLock<()>,
}

/// One call, as it came from the network.
pub struct Request {
    /// Who, from where, when, for the audit event.
    pub origin: Origin,
    /// The peer's address.
    pub peer: IpAddr,
    /// The headers; `host` is the authority, also with HTTP/2.
    pub headers: HeaderMap,
    /// The body, or why there is none.
    pub body: Result<Zeroizing<Vec<u8>>, KmsError>,
    /// By when the call has to be decided. What is being committed then is still waited for.
    pub until: Instant,
}

/// An authenticated caller.
pub(crate) struct Caller {
    arn: PrincipalArn,
    record: PrincipalRecord,
    policies: Vec<IdentityPolicy>,
    access_key_id: String,
}

/// What an operation decided. Nothing of it counts before it is committed.
pub(crate) struct Decided {
    body: AnswerBody,
    changes: Vec<Change>,
    expectations: Vec<Expectation>,
}

/// A call while it is being decided.
pub(crate) struct Call<'a> {
    caller: &'a Caller,
    request: &'a Request,
    /// What the recipient's document says, once it has been appraised.
    recipient: Option<&'a RecipientClaims>,
    trail: Trail,
}

impl Service {
    /// Puts the service together.
    pub fn new(store: Store, writer: Writer, root_key: RootKey, rules: RecipientRules) -> Self {
        Self {
            store,
            writer,
            root_key,
            rules: Arc::new(rules),
            nonces: Nonces::default(),
            meter: RefusalMeter::new(std::time::UNIX_EPOCH),
            turn: RwLock::new(()),
        }
    }

    /// The account and region served.
    pub fn home(&self) -> &Home {
        self.store.home()
    }

    /// How many attestation roots are trusted: with more than one, policies have to pin theirs.
    fn trusted_roots(&self) -> usize {
        self.rules.roots().len()
    }

    /// Handles one call. When the answer is there, its audit event is on disk
    /// (unauthenticated calls beyond the meter's bound: counted).
    pub async fn handle(&self, request: Request) -> Answer {
        let target = target(&request.headers);
        let body = match &request.body {
            Ok(body) if target != Target::Unknown => body,
            Ok(_) => return self.refuse_anybody(&request, target, unknown(target)).await,
            Err(error) => return self.refuse_anybody(&request, target, error.clone()).await,
        };
        match within(&request, self.authenticate(&request, body)).await {
            Ok(caller) => self.perform(caller, &request, target, body).await,
            Err(error) => self.refuse_anybody(&request, target, error).await,
        }
    }

    /// Decides and commits a call of an authenticated caller.
    async fn perform(
        &self,
        mut caller: Caller,
        request: &Request,
        target: Target,
        body: &[u8],
    ) -> Answer {
        let mut trail = Trail::default();
        let decided = self.decide(&mut caller, request, target, body, &mut trail);
        let refused = match decided.await {
            Ok(answer) => return answer,
            Err(error) => error,
        };
        self.refuse(&caller, request, target, trail, refused).await
    }

    async fn decide(
        &self,
        caller: &mut Caller,
        request: &Request,
        target: Target,
        body: &[u8],
        trail: &mut Trail,
    ) -> Result<Answer, KmsError> {
        let operation = target.operation()?;
        let input = Input::parse(operation, body, &self.home().region)?;
        trail.parameters = input.audit_parameters();
        let claims = match input.recipient() {
            Some(recipient) => {
                let appraised = self.appraise(caller, recipient, request, trail);
                Some(within(request, appraised).await?)
            }
            None => None,
        };
        for attempt in 0..MAX_ATTEMPTS {
            let _turn = within(request, self.take_turn(attempt == 0)).await?;
            if attempt > 0 {
                // Who calls is ground of the decision as much as the key is.
                *caller = within(request, self.look_up_again(caller)).await?;
            }
            let mut call = Call {
                caller,
                request,
                recipient: claims.as_ref(),
                trail: trail.clone(),
            };
            let result = within(request, self.execute(&input, &mut call)).await;
            let gathered = call.trail;
            let decided = match result {
                Ok(decided) => decided,
                Err(error) => {
                    *trail = gathered;
                    return Err(error);
                }
            };
            let mut expectations = decided.expectations;
            expectations.push(caller.unchanged());
            let entry = Entry {
                expectations,
                changes: decided.changes,
                event: self.event(caller, request, target, gathered, None),
            };
            match self.writer.commit(entry).await {
                Ok(_) => return Ok(Answer::success(request.origin.request_id, decided.body)),
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(KmsError::internal(error.rule())),
            }
        }
        Err(KmsError::internal("commit.contention"))
    }

    /// Waits until this call may decide: beside others, or alone.
    async fn take_turn(&self, shared: bool) -> Result<Turn<'_>, KmsError> {
        Ok(match shared {
            true => Turn::Shared(self.turn.read().await),
            false => Turn::Alone(self.turn.write().await),
        })
    }

    async fn execute(&self, input: &Input, call: &mut Call<'_>) -> Result<Decided, KmsError> {
        match input {
            Input::CreateKey(input) => self.create_key(call, input).await,
            Input::DescribeKey(key) => self.describe_key(call, key).await,
            Input::ListKeys(page) => self.list_keys(call, page).await,
            Input::EnableKey(key) => self.enable_key(call, key).await,
            Input::DisableKey(key) => self.disable_key(call, key).await,
            Input::ScheduleKeyDeletion { key, window } => {
                self.schedule_key_deletion(call, key, *window).await
            }
            Input::CancelKeyDeletion(key) => self.cancel_key_deletion(call, key).await,
            Input::Encrypt(input) => self.encrypt(call, input).await,
            Input::Decrypt(input) => self.decrypt(call, input).await,
            Input::GenerateDataKey(input) => self.generate_data_key(call, input, true).await,
            Input::GenerateDataKeyWithoutPlaintext(input) => {
                self.generate_data_key(call, input, false).await
            }
            Input::GenerateRandom { bytes, .. } => self.generate_random(call, *bytes),
            Input::GetKeyPolicy(key) => self.get_key_policy(call, key).await,
            Input::PutKeyPolicy(input) => self.put_key_policy(call, input).await,
            Input::ListKeyPolicies(key) => self.list_key_policies(call, key).await,
            Input::CreateAlias(input) => self.create_alias(call, input).await,
            Input::UpdateAlias(input) => self.update_alias(call, input).await,
            Input::DeleteAlias(name) => self.delete_alias(call, name).await,
            Input::ListAliases { key, page } => self.list_aliases(call, key.as_ref(), page).await,
            Input::GetAttestationNonce => self.issue_nonce(call),
        }
    }

    /// The event of a call, as JSON.
    fn event(
        &self,
        caller: &Caller,
        request: &Request,
        target: Target,
        trail: Trail,
        failure: Option<&KmsError>,
    ) -> String {
        let deed = refusal::deed(target, caller.identity());
        let failure = failure.map(refusal::failure);
        Event::new(self.home(), deed, &request.origin, trail, failure).to_json()
    }
}

impl Caller {
    fn identity(&self) -> Identity {
        Identity::User {
            principal_id: self.record.user_id.clone(),
            arn: self.arn.to_string(),
            account_id: self.arn.account().to_string(),
            access_key_id: self.access_key_id.clone(),
            user_name: self.record.name.clone(),
        }
    }

    /// What must still hold of the caller when a decision about its call is committed.
    fn unchanged(&self) -> Expectation {
        Expectation::Caller {
            name: self.record.name.clone(),
            user_id: self.record.user_id.clone(),
            policy: self.record.policy.clone(),
        }
    }
}

impl Decided {
    /// An answer of an operation that changes nothing, on these grounds.
    fn answer(body: AnswerBody, expectations: Vec<Expectation>) -> Self {
        Self {
            body,
            changes: Vec::new(),
            expectations,
        }
    }

    /// An operation without output that makes one change.
    fn change(change: Change, expectations: Vec<Expectation>) -> Self {
        Self {
            body: AnswerBody::empty(),
            changes: vec![change],
            expectations,
        }
    }
}

/// Ends a step of a call when the call's time is over, and begins none after it, however soon that
/// one would be done. Commits are not steps in this sense: whoever asked for one is told how it
/// ended.
async fn within<T>(
    request: &Request,
    step: impl Future<Output = Result<T, KmsError>>,
) -> Result<T, KmsError> {
    // A timer that is out still lets its future end that is ready at once.
    if Instant::now() >= request.until {
        return Err(refusal::late());
    }
    timeout_at(request.until, step)
        .await
        .unwrap_or_else(|_| Err(refusal::late()))
}

/// Held from a decision to its commit.
enum Turn<'a> {
    Shared(#[allow(dead_code)] RwLockReadGuard<'a, ()>),
    Alone(#[allow(dead_code)] RwLockWriteGuard<'a, ()>),
}

/// The one `X-Amz-Target`; of two, neither is meant.
fn target(headers: &HeaderMap) -> Target {
    let mut values = headers.get_all("x-amz-target").iter();
    match (
        values.next().and_then(|value| value.to_str().ok()),
        values.next(),
    ) {
        (Some(value), None) => Target::read(value),
        _ => Target::Unknown,
    }
}

fn unknown(target: Target) -> KmsError {
    target
        .operation()
        .err()
        .unwrap_or_else(|| KmsError::other(Exception::UnknownOperation, "request.operation", ""))
}
