//! The users of the account, from the command line.

use std::time::SystemTime;

use anchorhold_kms_core::arn::PrincipalArn;
use anchorhold_kms_core::policy::{Finding, IdentityPolicy, lint_identity};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rand_core::Rng;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Instance, InstanceError};
use crate::audit::event::{Deed, Event, Identity, Origin, Source, Trail};
use crate::random::Random;
use crate::service::ACCESS_KEY_PURPOSE;
use crate::sigv4::SecretAccessKey;
use crate::store::{
    Change, CommitError, Entry, Expectation, PrincipalRecord, commit_one, connect, disconnect,
    is_former_principal,
};

/// First characters of an access key id. Not AWS's, so that no scanner takes one for AWS's.
const ACCESS_KEY_PREFIX: &str = "AHIA";
/// First characters of a user's unique id.
const USER_ID_PREFIX: &str = "AHDA";

/// New credentials, to be shown once. No `Debug`: the secret would be in it.
#[derive(Serialize)]
pub struct Credentials {
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// The user.
    pub principal_arn: String,
    /// The access key's id.
    pub access_key_id: String,
    /// The secret access key.
    #[serde(serialize_with = "exposed")]
    pub secret_access_key: Zeroizing<String>,
    /// What the author of its identity policy should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Instance {
    /// Adds a user with an access key and, if given, an identity policy. Works beside a
    /// running server, which knows the user from then on.
    ///
    /// # Errors
    /// [`InstanceError::Principal`] when it exists, [`InstanceError::FormerPrincipal`] when it did,
    /// [`InstanceError::Policy`], [`InstanceError::Name`], or a database error.
    pub async fn add_principal(
        &self,
        name: &str,
        policy: Option<String>,
        now: SystemTime,
    ) -> Result<Credentials, InstanceError> {
        let mut connection = connect(&self.dir.database()).await?;
        let credentials = self
            .insert_principal(&mut connection, "AddPrincipal", name, policy, now)
            .await?;
        disconnect(connection).await?;
        Ok(credentials)
    }

    /// Removes a user and its access keys. Its name is not given again.
    ///
    /// # Errors
    /// [`InstanceError::Principal`] when there is none, or a database error.
    pub async fn remove_principal(&self, name: &str, now: SystemTime) -> Result<(), InstanceError> {
        let change = Change::RemovePrincipal {
            name: name.to_owned(),
            at: now,
        };
        self.change_principal("RemovePrincipal", name, change, json!({}), now)
            .await
    }

    /// Sets a user's identity policy, or takes it away. Gives what its author should know.
    ///
    /// # Errors
    /// [`InstanceError::Principal`] when there is no such user, [`InstanceError::Policy`],
    /// or a database error.
    pub async fn set_principal_policy(
        &self,
        name: &str,
        policy: Option<String>,
        now: SystemTime,
    ) -> Result<Vec<String>, InstanceError> {
        let warnings = warnings(policy.as_deref())?;
        let parameters = json!({ "policy": policy });
        let change = Change::SetPrincipalPolicy {
            principal: name.to_owned(),
            policy,
        };
        self.change_principal("SetPrincipalPolicy", name, change, parameters, now)
            .await?;
        Ok(warnings)
    }

    /// Every user.
    ///
    /// # Errors
    /// A database error.
    pub async fn principals(&self) -> Result<Vec<PrincipalRecord>, InstanceError> {
        let store = self.store().await?;
        let principals = store.principals().await?;
        store.close().await;
        Ok(principals)
    }

    async fn change_principal(
        &self,
        event: &str,
        name: &str,
        change: Change,
        mut parameters: Value,
        now: SystemTime,
    ) -> Result<(), InstanceError> {
        parameters["name"] = name.into();
        let entry = Entry {
            expectations: vec![Expectation::Principal(name.to_owned())],
            changes: vec![change],
            event: self.event(event, parameters, now),
        };
        let mut connection = connect(&self.dir.database()).await?;
        let outcome = commit_one(&mut connection, &self.sealer, entry).await;
        disconnect(connection).await?;
        outcome.map(drop).map_err(|error| match error {
            CommitError::Conflict => InstanceError::Principal {
                name: name.to_owned(),
                exists: false,
            },
            error => InstanceError::Commit(error),
        })
    }

    pub(super) async fn insert_principal(
        &self,
        connection: &mut SqliteConnection,
        event: &str,
        name: &str,
        policy: Option<String>,
        now: SystemTime,
    ) -> Result<Credentials, InstanceError> {
        let arn = PrincipalArn::user(&self.home.account, name)?;
        let warnings = warnings(policy.as_deref())?;
        let access_key_id = unique_id(ACCESS_KEY_PREFIX);
        let secret = secret_access_key();
        let wrapped_secret = self.root_key.wrap_secret(
            ACCESS_KEY_PURPOSE,
            &access_key_id,
            secret.as_bytes(),
            &mut Random,
        );
        let parameters = json!({
            "account": self.home.account.as_str(),
            "region": self.home.region.as_str(),
            "name": name,
            "accessKeyId": access_key_id,
            "policy": policy,
        });
        let entry = Entry {
            expectations: vec![Expectation::UnusedName(name.to_owned())],
            changes: vec![
                Change::InsertPrincipal {
                    name: name.to_owned(),
                    user_id: unique_id(USER_ID_PREFIX),
                    policy,
                    at: now,
                },
                Change::InsertAccessKey {
                    id: access_key_id.clone(),
                    principal: name.to_owned(),
                    wrapped_secret,
                    at: now,
                },
            ],
            event: self.event(event, parameters, now),
        };
        let name = name.to_owned();
        match commit_one(connection, &self.sealer, entry).await {
            Ok(_) => {}
            Err(CommitError::Conflict) if is_former_principal(connection, &name).await? => {
                return Err(InstanceError::FormerPrincipal { name });
            }
            Err(CommitError::Conflict) => {
                return Err(InstanceError::Principal { name, exists: true });
            }
            Err(error) => return Err(InstanceError::Commit(error)),
        }
        Ok(Credentials {
            account: self.home.account.to_string(),
            region: self.home.region.to_string(),
            principal_arn: arn.to_string(),
            access_key_id,
            secret_access_key: secret,
            warnings,
        })
    }

    fn event(&self, name: &str, parameters: Value, at: SystemTime) -> String {
        let origin = Origin {
            request_id: Uuid::new_v4(),
            source: "command line".to_owned(),
            user_agent: None,
            tls: None,
            at,
        };
        let trail = Trail {
            parameters: Some(parameters),
            ..Trail::default()
        };
        let deed = Deed {
            source: Source::Command,
            name,
            read_only: false,
            identity: Identity::HostOperator,
        };
        Event::new(&self.home, deed, &origin, trail, None).to_json()
    }
}

/// Reads an identity policy, and says what its author should know.
fn warnings(policy: Option<&str>) -> Result<Vec<String>, InstanceError> {
    let Some(policy) = policy else {
        return Ok(Vec::new());
    };
    let findings = lint_identity(&IdentityPolicy::parse(policy)?);
    Ok(findings.iter().map(Finding::to_string).collect())
}

/// 16 characters of base32 (RFC 4648) behind a prefix: 80 random bits, IAM's shape.
fn unique_id(prefix: &str) -> String {
    const ALPHABET: [char; 32] = [
        'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', 'P', 'Q', 'R',
        'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', '2', '3', '4', '5', '6', '7',
    ];
    let mut bytes = [0; 16];
    Random.fill_bytes(&mut bytes);
    let characters = bytes.iter().map(|byte| ALPHABET[usize::from(byte % 32)]);
    prefix.chars().chain(characters).collect()
}

/// 240 random bits as 40 characters of base64, IAM's shape.
fn secret_access_key() -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; SecretAccessKey::LENGTH / 4 * 3]);
    Random.fill_bytes(bytes.as_mut_slice());
    Zeroizing::new(BASE64_STANDARD.encode(bytes.as_slice()))
}

fn exposed<S: serde::Serializer>(
    secret: &Zeroizing<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret)
}
