//! The write-ahead log on a damaged disk: what is read is what was written, in order, or nothing.
#![no_main]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use aims_wal::{Class, Disk, DiskFile, Limits, PAYLOAD_LEN_MAX, Wal};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    segment_bytes: 400,
    quota_bytes: u64::MAX,
    reserve_bytes: 2 * PAYLOAD_LEN_MAX as u64,
    queue_len: 64,
};

type Content = Arc<Mutex<Vec<u8>>>;

/// Names, and files that live on under another name.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<BTreeMap<String, Content>>>);

struct Open(Content);

impl Memory {
    fn names(&self) -> MutexGuard<'_, BTreeMap<String, Content>> {
        self.0.lock().unwrap()
    }

    fn file(&self, name: &str) -> io::Result<Content> {
        let file = self.names().get(name).map(Arc::clone);
        file.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn files(&self) -> Vec<Vec<u8>> {
        let names = self.names();
        names
            .values()
            .map(|file| file.lock().unwrap().clone())
            .collect()
    }
}

impl Disk for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names().keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.names().insert(name.to_owned(), Content::default());
        self.open(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Open(self.file(name)?)))
    }

    fn read_at(&self, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let file = self.file(name)?;
        let bytes = file.lock().unwrap();
        let bytes = bytes.iter().skip(offset as usize).take(len as usize);
        Ok(bytes.copied().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let file = self.file(from)?;
        let mut names = self.names();
        names.remove(from);
        names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.names().remove(name);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for Open {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.0.lock().unwrap();
        let end = offset as usize + bytes.len();
        let len = file.len().max(end);
        file.resize(len, 0);
        file[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().truncate(len as usize);
        Ok(())
    }

    fn allocate(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

fn payload(seq: u64, len: u8) -> Vec<u8> {
    let mut payload = vec![seq.to_le_bytes()[0]; usize::from(len)];
    payload.extend(seq.to_be_bytes());
    payload
}

// The input: how many records, how long each is, and then damage: which file, where, what.
fuzz_target!(|script: &[u8]| {
    let Some((count, rest)) = script.split_first() else {
        return;
    };
    let count = usize::from(count % 16);
    if rest.len() < count {
        return;
    }
    let (lens, damage) = rest.split_at(count);
    let disk = Memory::default();
    let (wal, _) = Wal::open_on(Arc::new(disk.clone()), LIMITS).unwrap();
    let append = |len: &u8| {
        let len = *len;
        wal.append(Class::Intent, move |seq, _| payload(seq, len))
    };
    let tickets: Vec<_> = lens.iter().map(append).collect();
    for (wanted, ticket) in (1..).zip(tickets) {
        assert_eq!(ticket.wait().unwrap(), wanted);
    }
    wal.close().unwrap();
    let whole = disk.files();
    for [which, high, low, byte] in damage.as_chunks::<4>().0 {
        let names = disk.names();
        let mut file = names
            .values()
            .nth(usize::from(*which) % names.len())
            .unwrap()
            .lock()
            .unwrap();
        let at = usize::from(u16::from_be_bytes([*high, *low]));
        match file.get_mut(at) {
            Some(at) => *at ^= byte,
            None => file.truncate(at.wrapping_sub(usize::from(*byte))),
        }
    }
    let is_whole = disk.files() == whole;
    match Wal::open_on(Arc::new(disk.clone()), LIMITS) {
        Ok((wal, found)) => {
            for (wanted, record) in (1..).zip(found.records()) {
                let Ok((seq, bytes)) = record else { break };
                assert_eq!(seq, wanted);
                assert_eq!(bytes, payload(seq, lens[seq as usize - 1]));
            }
            assert!(!is_whole || wal.head().seq == count as u64);
            wal.close().unwrap();
        }
        Err(error) => assert!(!is_whole, "an undamaged log is refused: {error}"),
    }
});
