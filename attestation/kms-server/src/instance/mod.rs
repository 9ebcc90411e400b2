//! A KMS on disk: made once by `init`, opened by everything else.

mod principals;

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anchorhold_kms_core::arn::{AccountId, ArnError, Region};
use anchorhold_kms_core::attestation::RecipientRules;
use anchorhold_kms_core::material::{RootKey, UnwrapError};
use anchorhold_kms_core::policy::PolicyError;
use rand_core::Rng;
use sqlx::SqliteConnection;
use thiserror::Error;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::audit::Sealer;
use crate::data_dir::{DataDir, DataDirError, Lock};
use crate::random::Random;
use crate::service::Service;
use crate::store::{
    CommitError, Home, Store, StoreError, Writer, connect, disconnect, meta, migrate, set_meta,
};
pub use principals::Credentials;

/// The user that `init` makes.
const ADMINISTRATOR: &str = "administrator";
/// What that user may: everything that the key policies leave to identity policies.
const ADMINISTRATOR_POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["kms:*","anchorhold:*"],"Resource":"*"}]}"#;
/// Where the audit key is kept, and what it is wrapped as.
const AUDIT_KEY: &str = "audit_key";

/// Why a KMS cannot be made, opened or changed.
#[derive(Debug, Error)]
pub enum InstanceError {
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The root key does not open what the database holds.
    #[error("root.key does not fit kms.db")]
    RootKey(#[source] UnwrapError),
    /// Account, region or name.
    #[error("not a valid name")]
    Name(#[from] ArnError),
    /// An identity policy.
    #[error("the policy cannot be attached")]
    Policy(#[from] PolicyError),
    /// A user of this name exists, or does not.
    #[error("{}", if *.exists { format!("there is a principal {name} already") } else { format!("there is no principal {name}") })]
    Principal {
        /// The name.
        name: String,
        /// Whether it exists.
        exists: bool,
    },
    /// A user of this name has been removed.
    #[error(
        "there was a principal {name} before: key policies may still allow it something, so its name is not given again; choose another"
    )]
    FormerPrincipal {
        /// The name.
        name: String,
    },
    /// The change could not be committed.
    #[error(transparent)]
    Commit(CommitError),
}

impl InstanceError {
    /// Stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::DataDir(error) => error.rule(),
            Self::Store(error) => error.rule(),
            Self::RootKey(error) => error.rule(),
            Self::Name(error) => error.rule(),
            Self::Policy(error) => error.rule(),
            Self::Principal { exists: true, .. } => "principal.exists",
            Self::Principal { exists: false, .. } => "principal.not-found",
            Self::FormerPrincipal { .. } => "principal.former",
            Self::Commit(error) => error.rule(),
        }
    }
}

/// An opened KMS: what is needed to serve it, or to change it from the command line.
pub struct Instance {
    dir: DataDir,
    home: Home,
    root_key: RootKey,
    sealer: Sealer,
}

/// A KMS that serves: the service, and the task of its writer, which ends after the service.
pub struct Running {
    /// Answers calls.
    pub service: Arc<Service>,
    /// Ends when the service has been dropped and the last change committed.
    pub writer: JoinHandle<()>,
    /// The right to be the one server on the directory.
    pub lock: Lock,
}

/// Makes a new KMS with an administrator.
///
/// # Errors
/// Never overwrites: [`DataDirError::AlreadyInitialised`] and the like.
pub async fn init(
    path: &Path,
    account: AccountId,
    region: Region,
    now: SystemTime,
) -> Result<Credentials, InstanceError> {
    let (dir, lock) = DataDir::create(path)?;
    let root_key = RootKey::generate(&mut Random);
    dir.write_root_key(root_key.expose_bytes())?;

    let mut audit_key = Zeroizing::new([0; 32]);
    Random.fill_bytes(audit_key.as_mut_slice());
    let wrapped = root_key.wrap_secret(AUDIT_KEY, AUDIT_KEY, audit_key.as_slice(), &mut Random);
    let database = dir.begin_database()?;
    let mut connection = migrate(&database, &lock).await?;
    set_meta(&mut connection, "account", account.as_str().as_bytes()).await?;
    set_meta(&mut connection, "region", region.as_str().as_bytes()).await?;
    set_meta(&mut connection, AUDIT_KEY, &wrapped).await?;

    let instance = Instance {
        dir,
        home: Home { account, region },
        root_key,
        sealer: Sealer::new(audit_key),
    };
    let policy = Some(ADMINISTRATOR_POLICY.to_owned());
    let credentials = instance
        .insert_principal(&mut connection, "Initialize", ADMINISTRATOR, policy, now)
        .await?;
    disconnect(connection).await?;
    instance.dir.finish_database()?;
    Ok(credentials)
}

impl Instance {
    /// Opens a KMS that [`init`] made, beside a server that may be running.
    ///
    /// # Errors
    /// [`InstanceError`]: the directory, the database, or a root key of another KMS.
    pub async fn open(path: &Path) -> Result<Self, InstanceError> {
        let dir = DataDir::open(path)?;
        let connection = connect(&dir.database()).await?;
        Self::read(dir, connection).await
    }

    /// Opens a KMS to serve it: takes the directory's lock, then brings the database up to date.
    ///
    /// # Errors
    /// [`DataDirError::InUse`] naming the other server, and those of [`Instance::open`].
    pub async fn open_to_serve(path: &Path) -> Result<(Self, Lock), InstanceError> {
        let dir = DataDir::open(path)?;
        let lock = dir.lock("serve")?;
        let connection = migrate(&dir.database(), &lock).await?;
        Ok((Self::read(dir, connection).await?, lock))
    }

    async fn read(dir: DataDir, mut connection: SqliteConnection) -> Result<Self, InstanceError> {
        let root_key = RootKey::from_bytes(dir.read_root_key()?);
        let account = meta(&mut connection, "account").await?;
        let region = meta(&mut connection, "region").await?;
        let wrapped = meta(&mut connection, AUDIT_KEY).await?;
        disconnect(connection).await?;
        let audit_key = root_key
            .unwrap_secret(AUDIT_KEY, AUDIT_KEY, &wrapped)
            .map_err(InstanceError::RootKey)?;
        let audit_key: [u8; 32] = audit_key
            .as_slice()
            .try_into()
            .map_err(|_| InstanceError::RootKey(UnwrapError::Damaged))?;
        Ok(Self {
            home: Home {
                account: text(account, "account")?.parse()?,
                region: text(region, "region")?.parse()?,
            },
            dir,
            root_key,
            sealer: Sealer::new(Zeroizing::new(audit_key)),
        })
    }

    /// The account and region served.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// What checks the audit trail's seals.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// The database, for reading.
    ///
    /// # Errors
    /// A database error.
    pub async fn store(&self) -> Result<Store, InstanceError> {
        Ok(Store::open(&self.dir.database(), self.home.clone()).await?)
    }

    /// Starts the service, with the lock from [`Instance::open_to_serve`].
    ///
    /// # Errors
    /// A database error.
    pub async fn start(self, lock: Lock, rules: RecipientRules) -> Result<Running, InstanceError> {
        let database = self.dir.database();
        let store = Store::open(&database, self.home).await?;
        let connection = connect(&database).await?;
        let (writer, task) = Writer::start(database, connection, self.sealer);
        Ok(Running {
            service: Arc::new(Service::new(store, writer, self.root_key, rules)),
            writer: task,
            lock,
        })
    }
}

fn text(bytes: Vec<u8>, what: &'static str) -> Result<String, StoreError> {
    String::from_utf8(bytes).map_err(|_| StoreError::Corrupt { what })
}
