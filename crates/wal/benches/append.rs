//! Durable records, beside what the disk alone takes for the same bytes.
#![expect(
    clippy::unwrap_used,
    reason = "a bench that can't be set up has to stop"
)]

use std::fs::{File, OpenOptions};
use std::io::Write as _;

use aims_wal::{Class, Limits, Wal};
use divan::Bencher;
use divan::counter::ItemsCount;

/// How many callers wait at once: what shares one sync.
const WAITING: &[usize] = &[1, 16, 64, 256];
/// About what an intent takes.
const RECORD: [u8; 1024] = [b'r'; 1024];
fn main() {
    divan::main();
}

#[divan::bench(args = WAITING, sample_count = 200, sample_size = 1)]
fn records(bencher: Bencher<'_, '_>, waiting: usize) {
    let folder = tempfile::tempdir_in(".").unwrap();
    let (wal, _) = Wal::open(folder.path(), Limits::default()).unwrap();
    bencher.counter(ItemsCount::new(waiting)).bench_local(|| {
        let append = |_| wal.append(Class::Intent, |_, _| RECORD.to_vec());
        let tickets: Vec<_> = (0..waiting).map(append).collect();
        for ticket in tickets {
            ticket.wait().unwrap();
        }
    });
}

/// One write and one `fdatasync` of as many bytes, into a file that is long enough already.
#[divan::bench(args = WAITING, sample_count = 200, sample_size = 1)]
fn floor_fdatasync(bencher: Bencher<'_, '_>, waiting: usize) {
    let folder = tempfile::tempdir_in(".").unwrap();
    let mut file = long_enough(folder.path().join("log"));
    let bytes = RECORD.repeat(waiting);
    bencher.counter(ItemsCount::new(waiting)).bench_local(|| {
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
    });
}

fn long_enough(path: std::path::PathBuf) -> File {
    std::fs::write(&path, vec![0; 64 << 20]).unwrap();
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.sync_all().unwrap();
    file
}
