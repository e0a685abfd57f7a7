//! Bringing a trust domain into being on the embedded store.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use aims_control::{Init, Initialised, NoLog, Parts};
use aims_keys::{KeyStore, MasterKey};
use aims_store::Store;
use aims_store_sqlite::SqliteStore;
use aims_tlog::{KeyKind, KeyName, VerifierKey};
use aims_types::ambient::{SystemClock, SystemEntropy, boot_id};
use aims_types::{Entropy, Name};
use anyhow::{Context, Result};

use crate::{Config, DEFAULT_POLICY};

/// A new trust domain.
pub struct NewDomain {
    /// What was made in it.
    pub initialised: Initialised,
    /// The log's public key in the form of signed notes: the anchor of everything recorded.
    pub log_key: VerifierKey,
}

/// Makes directories, the master key if there is none, the server's keys, the database, and the
/// first operator. A data directory is initialised once.
pub async fn initialise(
    config: &Config,
    operator: Name,
    operator_jwk: String,
) -> Result<NewDomain> {
    private_dir(&config.data_dir)?;
    if !config.master_key_file.exists() {
        if let Some(dir) = config.master_key_file.parent() {
            fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        }
        MasterKey::create(&config.master_key_file, &SystemEntropy)?;
    }
    let store = Arc::new(open_store(config).await?);
    let parts = parts(config, Arc::clone(&store) as Arc<dyn Store>)?;
    let init = Init {
        trust_domain: config.trust_domain.clone(),
        operator_name: operator,
        operator_jwk,
        default_policy: DEFAULT_POLICY,
    };
    let initialised = aims_control::initialise(&parts, init).await?;
    let key = aims_control::log_key(store.as_ref(), &parts.keys).await?;
    let log_key = VerifierKey::new(
        log_name(config)?,
        KeyKind::Note,
        *aims_crypto::Signer::public(&key),
    )?;
    store.close().await;
    Ok(NewDomain {
        initialised,
        log_key,
    })
}

/// The parts of a control plane, with no log yet.
pub(crate) fn parts(config: &Config, store: Arc<dyn Store>) -> Result<Parts> {
    let master = MasterKey::load(&config.master_key_file)?;
    let keys = KeyStore::open(&config.data_dir.join("keys"), master, &SystemEntropy)?;
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    Ok(Parts {
        store,
        keys: Arc::new(keys),
        clock: Arc::new(SystemClock),
        boot: boot_id().context("which boot of this host it is can't be read")?,
        entropy,
        records: Arc::new(NoLog),
        config: aims_control::Config {
            issuer: config.issuer(),
            resource: config.resource(),
            lease: config.lease.terms()?,
            services: config.services.terms()?,
        },
    })
}

pub(crate) async fn open_store(config: &Config) -> Result<SqliteStore> {
    let path = config.data_dir.join("aims.db");
    SqliteStore::open(&path)
        .await
        .with_context(|| format!("the store `{}` can't be opened", path.display()))
}

/// The log's name: its origin, and the name of the key that signs it.
pub(crate) fn log_name(config: &Config) -> Result<KeyName> {
    let name = format!("{}/log", config.trust_domain);
    name.parse()
        .with_context(|| format!("`{name}` can't name a log"))
}

/// A directory that only AIMS can enter.
pub fn private_dir(dir: &Path) -> Result<()> {
    let context = || dir.display().to_string();
    let missing = dir.ancestors().take_while(|dir| !dir.exists()).count();
    fs::create_dir_all(dir).with_context(context)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).with_context(context)?;
    // What is kept in it lasts no longer than its name.
    for parent in dir.ancestors().skip(1).take(missing) {
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        let synced = fs::File::open(parent).and_then(|parent| parent.sync_all());
        synced.with_context(|| parent.display().to_string())?;
    }
    Ok(())
}
