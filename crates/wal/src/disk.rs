//! What the log needs of a file system.

use std::io;

mod fs;
#[cfg(test)]
pub(crate) mod sim;

pub use fs::{DirLocked, FsDisk};

/// A directory of files. Names are plain file names.
pub trait Disk: Send + Sync {
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes an empty file, in place of one that may exist.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file to write to it.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Reads up to `len` bytes at `offset`; fewer only at the end of the file.
    fn read_at(&self, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>>;

    /// Renames a file over another; the name is durable only after [`Disk::sync`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; durable only after [`Disk::sync`].
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names durable.
    fn sync(&self) -> io::Result<()>;
}

/// A file that is open for writing.
pub trait DiskFile: Send {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was written durable. After an error nothing is known of what was written since
    /// the last success, and trying again proves nothing.
    fn sync(&mut self) -> io::Result<()>;

    /// Shortens the file to `len` and gives back space that was allocated beyond.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Makes sure that writing up to `end` will find space, without changing the file's length;
    /// [`io::ErrorKind::StorageFull`] if it would not.
    fn allocate(&mut self, end: u64) -> io::Result<()>;
}
