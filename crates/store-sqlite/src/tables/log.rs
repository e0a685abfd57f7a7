//! The log: its head, how far each source is in it, its entries.

use aims_model::{RecordName, Source};
use aims_store::{Error, LogEntry, LogHead, SourceHead, chain};
use aims_types::{Id, Task};
use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteConnection, query};

use crate::sql::{self, At};

const WHAT: &str = "log entry";

pub(crate) async fn head(c: &mut SqliteConnection) -> Result<Option<LogHead>, Error> {
    let found = query("SELECT size, root, checkpoint FROM log_head")
        .fetch_optional(c)
        .await;
    let Some(row) = found.map_err(sql::failed)? else {
        return Ok(None);
    };
    let at = At::new("log_head", &"only");
    Ok(Some(LogHead {
        size: at.number(&row, "size")?,
        root: at.digest(&row, "root")?,
        checkpoint: at.get(&row, "checkpoint")?,
    }))
}

pub(crate) async fn sources(c: &mut SqliteConnection) -> Result<Vec<SourceHead>, Error> {
    let found = query("SELECT source, seq, digest FROM log_sources ORDER BY source").fetch_all(c);
    let rows = found.await.map_err(sql::failed)?;
    let source = |row| {
        let source = At::new("log_sources", &"?").text(row, "source")?;
        let at = At::new("log_sources", &source);
        let (seq, digest) = (at.number(row, "seq")?, at.digest(row, "digest")?);
        Ok(SourceHead {
            source,
            seq,
            digest,
        })
    };
    rows.iter().map(source).collect()
}

pub(crate) async fn entries(
    c: &mut SqliteConnection,
    from: u64,
    limit: u32,
) -> Result<Vec<LogEntry>, Error> {
    let sql = "SELECT leaf, source, seq, task, record FROM log_entries
        WHERE leaf >= $1 ORDER BY leaf LIMIT $2";
    list(c, query(sql).bind(sql::bound(from)).bind(sql::page(limit))).await
}

/// How an entry is found by its name: `$1`, of the task `$2` if that is not null.
pub(crate) const NAMED: &str = "SELECT leaf, source, seq, task, record
    FROM log_names JOIN log_entries USING (leaf)
    WHERE name = $1 AND ($2 IS NULL OR task = $2) ORDER BY leaf LIMIT 1";

pub(crate) async fn entry_named(
    c: &mut SqliteConnection,
    name: &RecordName,
    task: Option<Id<Task>>,
) -> Result<Option<LogEntry>, Error> {
    let values = query(NAMED)
        .bind(name.to_string())
        .bind(task.map(|task| task.to_string()));
    let found = values.fetch_optional(c).await.map_err(sql::failed)?;
    found.map(|row| entry(&row)).transpose()
}

pub(crate) async fn entries_of_task(
    c: &mut SqliteConnection,
    task: Id<Task>,
    from: u64,
    limit: u32,
) -> Result<Vec<LogEntry>, Error> {
    let sql = "SELECT leaf, source, seq, task, record FROM log_entries
        WHERE task = $1 AND leaf >= $2 ORDER BY leaf LIMIT $3";
    let values = query(sql).bind(task.to_string()).bind(sql::bound(from));
    list(c, values.bind(sql::page(limit))).await
}

pub(crate) async fn entries_of_gateways(
    c: &mut SqliteConnection,
    task: Id<Task>,
    skip: u64,
    limit: u32,
) -> Result<Vec<LogEntry>, Error> {
    let sql = "SELECT leaf, source, seq, task, record FROM log_entries
        WHERE task = $1 AND source <> $2 ORDER BY leaf LIMIT $3 OFFSET $4";
    let values = query(sql)
        .bind(task.to_string())
        .bind(Source::Server.to_string());
    list(c, values.bind(sql::page(limit)).bind(sql::bound(skip))).await
}

/// Nothing is written before everything is checked: a refused append changes nothing.
pub(crate) async fn append(
    c: &mut SqliteConnection,
    expected: Option<&LogHead>,
    entries: &[LogEntry],
    new: &LogHead,
) -> Result<(), Error> {
    if head(c).await?.as_ref() != expected {
        return Err(Error::Raced);
    }
    let extended = chain::extend(expected, &sources(c).await?, entries, new)?;
    head_set(c, expected, new).await?;
    for source in extended.sources {
        source_set(c, &source).await?;
    }
    for entry in entries {
        entry_insert(c, entry).await?;
    }
    for (name, index) in extended.names {
        name_insert(c, &name, index).await?;
    }
    Ok(())
}

async fn head_set(
    c: &mut SqliteConnection,
    expected: Option<&LogHead>,
    new: &LogHead,
) -> Result<(), Error> {
    let first = "INSERT INTO log_head (only_row, size, root, checkpoint) VALUES (1, $1, $2, $3)
        ON CONFLICT DO NOTHING";
    let next = "UPDATE log_head SET size = $1, root = $2, checkpoint = $3
        WHERE only_row = 1 AND size = $4 AND root = $5 AND checkpoint = $6";
    let bind = |sql: &'static str| {
        let values = query(sql)
            .bind(sql::integer(new.size, WHAT)?)
            .bind(sql::blob(&new.root));
        Ok::<_, Error>(values.bind(new.checkpoint.clone()))
    };
    let swap = match expected {
        None => bind(first)?,
        Some(old) => bind(next)?
            .bind(sql::integer(old.size, WHAT)?)
            .bind(sql::blob(&old.root))
            .bind(old.checkpoint.clone()),
    };
    sql::update(c, WHAT, swap).await
}

async fn source_set(c: &mut SqliteConnection, head: &SourceHead) -> Result<(), Error> {
    let sql = "INSERT INTO log_sources (source, seq, digest) VALUES ($1, $2, $3)
        ON CONFLICT (source) DO UPDATE SET seq = excluded.seq, digest = excluded.digest";
    let values = query(sql)
        .bind(head.source.to_string())
        .bind(sql::integer(head.seq, WHAT)?);
    values
        .bind(sql::blob(&head.digest))
        .execute(c)
        .await
        .map_err(sql::failed)?;
    Ok(())
}

async fn entry_insert(c: &mut SqliteConnection, entry: &LogEntry) -> Result<(), Error> {
    let sql = "INSERT INTO log_entries (leaf, source, seq, task, record)
        VALUES ($1, $2, $3, $4, $5)";
    let values = query(sql)
        .bind(sql::integer(entry.index, WHAT)?)
        .bind(entry.source.to_string());
    let values = values.bind(sql::integer(entry.seq, WHAT)?);
    let values = values
        .bind(entry.task.map(|task| task.to_string()))
        .bind(entry.record.clone());
    values.execute(c).await.map_err(sql::failed)?;
    Ok(())
}

async fn name_insert(c: &mut SqliteConnection, name: &RecordName, index: u64) -> Result<(), Error> {
    let values = query("INSERT INTO log_names (name, leaf) VALUES ($1, $2)")
        .bind(name.to_string())
        .bind(sql::integer(index, WHAT)?);
    values.execute(c).await.map_err(sql::failed)?;
    Ok(())
}

async fn list(c: &mut SqliteConnection, query: sql::Query) -> Result<Vec<LogEntry>, Error> {
    let rows = query.fetch_all(c).await.map_err(sql::failed)?;
    rows.iter().map(entry).collect()
}

fn entry(row: &SqliteRow) -> Result<LogEntry, Error> {
    let index = At::new("log_entries", &"?").number(row, "leaf")?;
    let at = At::new("log_entries", &index);
    let task: Option<&str> = at.get(row, "task")?;
    let task = task
        .map(str::parse)
        .transpose()
        .map_err(|error| at.corrupt("task", &error))?;
    Ok(LogEntry {
        index,
        source: at.text(row, "source")?,
        seq: at.number(row, "seq")?,
        task,
        record: at.get(row, "record")?,
    })
}
