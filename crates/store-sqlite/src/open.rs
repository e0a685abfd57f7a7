//! Opening a store: the file, the connections, the schema.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aims_store::Error;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row, SqlSafeStr, SqlitePool, query};

use crate::disk::Disk;
use crate::files::{self, Temporary};
use crate::{SqliteStore, sql};

/// Most look-ups at a time.
pub const READERS_MAX: u32 = 8;
/// Longest wait for a connection, in seconds.
pub const ACQUIRE_SECS_MAX: u64 = 10;
/// Longest wait for another process that changes the same file, in seconds.
pub const BUSY_WAIT_SECS_MAX: u64 = 5;

/// The migrations, in order: number, name, SQL.
const MIGRATIONS: [(i64, &str, &str); 7] = [
    (1, "first", include_str!("../migrations/0001_first.sql")),
    (
        2,
        "points and trees",
        include_str!("../migrations/0002_points_and_trees.sql"),
    ),
    (
        3,
        "lost_owners",
        include_str!("../migrations/0003_lost_owners.sql"),
    ),
    (
        4,
        "erasable materials",
        include_str!("../migrations/0004_erasable_materials.sql"),
    ),
    (
        5,
        "upstreams",
        include_str!("../migrations/0005_upstreams.sql"),
    ),
    (
        7,
        "services",
        include_str!("../migrations/0007_services.sql"),
    ),
    (
        8,
        "log names",
        include_str!("../migrations/0008_log_names.sql"),
    ),
];

/// What makes a commit durable, references true, and what is deleted go: setting, how to ask for
/// it, wanted value.
const PROMISES: [(&str, &str, &str); 4] = [
    ("journal_mode", "PRAGMA journal_mode", "wal"),
    ("synchronous", "PRAGMA synchronous", "2"),
    ("foreign_keys", "PRAGMA foreign_keys", "1"),
    ("secure_delete", "PRAGMA secure_delete", "1"),
];

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused.
    #[error("`{path}`: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file or directory is not safe to use.
    #[error("`{path}` is not safe: {reason}")]
    Refused {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// The file system does not give what commits rely on.
    #[error("the store needs `{setting}` to be `{wanted}`, but it is `{found}`; use a local disk")]
    NotDurable {
        /// The setting.
        setting: &'static str,
        /// What it must be.
        wanted: &'static str,
        /// What it is.
        found: String,
    },
    /// A newer release wrote the file.
    #[error("a newer release wrote the store (migration {0}); use that release")]
    Newer(i64),
    /// The schema can't be brought up to date.
    #[error("the store can't be migrated: {0}")]
    Migrate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The engine failed.
    #[error(transparent)]
    Store(#[from] Error),
}

impl SqliteStore {
    /// Opens the store in the file `path`, which is made if it is missing, in a directory that only
    /// this user can enter, and brings its schema up to date.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        files::guard(path)?;
        let (writer, readers) = connect(&options(path), SqliteSynchronous::Full).await?;
        durable(&writer).await?;
        files::sync_names(path)?;
        Ok(Self {
            writer,
            readers,
            disk: Disk::new(),
            journal: Arc::default(),
            directory: None,
        })
    }

    /// Opens an empty store that ends with this value, for tests: a file in a new directory below
    /// the one for temporary files, so that connections and locks are as in a real one; only the
    /// waiting for the disk is left out.
    pub async fn open_in_memory() -> Result<Self, OpenError> {
        let directory = Temporary::new()?;
        let path = directory.path().join("store.db");
        files::guard(&path)?;
        let (writer, readers) = connect(&options(&path), SqliteSynchronous::Off).await?;
        Ok(Self {
            writer,
            readers,
            disk: Disk::new(),
            journal: Arc::default(),
            directory: Some(directory),
        })
    }
}

impl OpenError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn refused(path: &Path, reason: &'static str) -> Self {
        Self::Refused {
            path: path.to_owned(),
            reason,
        }
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(BUSY_WAIT_SECS_MAX))
        // Nothing in the file's schema may call what is not plain SQL.
        .pragma("trusted_schema", "OFF")
        .pragma("temp_store", "MEMORY")
        // What is deleted is overwritten.
        .pragma("secure_delete", "ON")
        // By itself SQLite would fold the journal and keep quiet about a disk that fails.
        .pragma("wal_autocheckpoint", "0")
        .disable_statement_logging()
}

async fn pool(size: u32, options: SqliteConnectOptions) -> Result<SqlitePool, OpenError> {
    let opened = SqlitePoolOptions::new()
        .max_connections(size)
        .acquire_timeout(Duration::from_secs(ACQUIRE_SECS_MAX))
        // With its last connection SQLite would remove the journal, and make another one later.
        .idle_timeout(None)
        .max_lifetime(None)
        // A connection on which SQLite ended a transaction by itself is not used again: the driver
        // would take the next BEGIN for a nested one.
        .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
        .connect_with(options)
        .await;
    Ok(opened.map_err(sql::failed)?)
}

/// The one writing connection, with the schema brought up to date, and the reading ones.
async fn connect(
    options: &SqliteConnectOptions,
    synchronous: SqliteSynchronous,
) -> Result<(SqlitePool, SqlitePool), OpenError> {
    let options = options.clone().synchronous(synchronous);
    let writer = pool(1, options.clone().journal_mode(SqliteJournalMode::Wal)).await?;
    migrate(&writer).await?;
    let readers = pool(READERS_MAX, options.pragma("query_only", "ON")).await?;
    Ok((writer, readers))
}

/// Brings the schema up to date, all of it or nothing, also when two processes start at once.
async fn migrate(writer: &SqlitePool) -> Result<(), OpenError> {
    let migrations = MIGRATIONS.map(|(number, name, sql)| {
        let (name, sql) = (name.into(), sql.into_sql_str());
        Migration::new(number, name, MigrationType::Simple, sql, false)
    });
    let migrator = Migrator::with_migrations(migrations.to_vec());
    let mut tx = writer
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(sql::failed)?;
    migrator
        .run_direct(None, &mut *tx, false)
        .await
        .map_err(|error| match error {
            MigrateError::VersionMissing(number) => OpenError::Newer(number),
            error => OpenError::Migrate(Box::new(error)),
        })?;
    Ok(tx.commit().await.map_err(sql::failed)?)
}

async fn durable(writer: &SqlitePool) -> Result<(), OpenError> {
    for (setting, sql, wanted) in PROMISES {
        let row = query(sql).fetch_one(writer).await.map_err(sql::failed)?;
        // Unchecked: numbers are wanted as text too.
        let found: String = row.try_get_unchecked(0).map_err(sql::failed)?;
        if found != wanted {
            return Err(OpenError::NotDurable {
                setting,
                wanted,
                found,
            });
        }
    }
    Ok(())
}
