//! Which shared libraries a program needs, as `ld.so(8)` would find them.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use object::Endianness;
use object::elf::{
    DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_STRSZ, DT_STRTAB, FileHeader32, FileHeader64, PT_LOAD,
};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::read::{ReadCache, ReadRef, StringTable};

use super::search::Search;
use super::{Content, MeasureError, Visit, open, walk};

/// Loaded by the C library at run time without being named: ending a thread needs it.
const LOADED_LATER: &str = "libgcc_s.so.1";
/// The C library that loads it.
const C_LIBRARY: &str = "libc.so.6";
/// Most libraries of one program.
const LIBRARIES_MAX: usize = 2048;

/// What an ELF file says about its dependencies.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) machine: u16,
    pub(super) wide: bool,
    pub(super) interpreter: Option<PathBuf>,
    pub(super) libraries: Vec<String>,
    pub(super) rpath: Vec<String>,
    pub(super) runpath: Vec<String>,
}

/// The interpreter and every library that `program` needs, directly or not, by the paths under
/// which they are looked up (which may be symbolic links); without `program` itself. A file that is
/// not ELF needs nothing.
pub fn libraries(program: &Path) -> Result<Vec<PathBuf>, MeasureError> {
    let mut closure = Closure::new(true);
    closure.add(program)?;
    Ok(closure.found.into_iter().collect())
}

/// The libraries that the ELF files of the tree at `root` need. One that this host does not have is
/// left out: trees carry modules that nobody loads.
pub fn tree_libraries(root: &Path) -> Result<Vec<PathBuf>, MeasureError> {
    let mut collect = Collect(Vec::new());
    walk(root, &mut collect)?;
    let mut closure = Closure::new(false);
    for file in collect.0 {
        closure.add(&file)?;
    }
    Ok(closure
        .found
        .into_iter()
        .filter(|path| !path.starts_with(root))
        .collect())
}

/// Collects the ELF files of a tree.
struct Collect(Vec<PathBuf>);

impl Visit for Collect {
    fn enter(&mut self, _: &Path) -> Result<(), MeasureError> {
        Ok(())
    }

    fn file(&mut self, from: &Path, _: &Path) -> Result<Content, MeasureError> {
        let content = super::content(from)?;
        if content.elf {
            self.0.push(from.to_path_buf());
        }
        Ok(content)
    }

    fn link(&mut self, _: &Path, _: &Path) -> Result<(), MeasureError> {
        Ok(())
    }
}

struct Closure {
    strict: bool,
    search: Search,
    found: BTreeSet<PathBuf>,
    seen: BTreeSet<PathBuf>,
}

impl Closure {
    fn new(strict: bool) -> Self {
        Self {
            strict,
            search: Search::of_host(),
            found: BTreeSet::new(),
            seen: BTreeSet::new(),
        }
    }

    fn add(&mut self, file: &Path) -> Result<(), MeasureError> {
        let mut waiting = vec![file.to_path_buf()];
        while let Some(next) = waiting.pop() {
            let real = next.canonicalize().map_err(MeasureError::io(&next))?;
            if self.seen.len() >= LIBRARIES_MAX {
                let (path, what) = (file.to_path_buf(), "libraries");
                return Err(MeasureError::TooLarge {
                    path,
                    what,
                    max: LIBRARIES_MAX as u64,
                });
            }
            if !self.seen.insert(real.clone()) {
                continue;
            }
            let needs = match needs(&real) {
                Ok(Some(needs)) => needs,
                Ok(None) => continue,
                // Test data and foreign objects lie in trees; only what is named must be sound.
                Err(_) if !self.strict => continue,
                Err(error) => return Err(error),
            };
            self.follow(&next, &real, &needs, &mut waiting)?;
        }
        Ok(())
    }

    fn follow(
        &mut self,
        named: &Path,
        real: &Path,
        needs: &Needs,
        waiting: &mut Vec<PathBuf>,
    ) -> Result<(), MeasureError> {
        if let Some(interpreter) = needs.interpreter.iter().find(|path| path.is_absolute()) {
            if interpreter.exists() {
                self.found.insert(interpreter.clone());
                waiting.push(interpreter.clone());
            } else if self.strict {
                return Err(missing(real, &interpreter.to_string_lossy()));
            }
        }
        for library in &needs.libraries {
            match self.search.find(library, [named, real], needs) {
                Some(path) => {
                    self.found.insert(path.clone());
                    waiting.push(path);
                }
                None if self.strict => return Err(missing(real, library)),
                None => {}
            }
            if library == C_LIBRARY
                && let Some(path) = self.search.find(LOADED_LATER, [named, real], needs)
            {
                self.found.insert(path.clone());
                waiting.push(path);
            }
        }
        if self.search.used_configured {
            // Directories that only the cache names are found through it inside as well.
            self.found.extend(Search::cache());
        }
        Ok(())
    }
}

fn missing(program: &Path, library: &str) -> MeasureError {
    MeasureError::MissingLibrary {
        program: program.to_path_buf(),
        library: library.to_owned(),
    }
}

/// The needs of the ELF file `path`, or `None` for any other file.
pub(super) fn needs(path: &Path) -> Result<Option<Needs>, MeasureError> {
    let cache = ReadCache::new(open(path)?);
    let Ok(ident) = (&cache).read_bytes_at(0, 5) else {
        return Ok(None);
    };
    let parsed = match ident {
        [0x7f, b'E', b'L', b'F', 2] => parse::<FileHeader64<Endianness>>(&cache),
        [0x7f, b'E', b'L', b'F', 1] => parse::<FileHeader32<Endianness>>(&cache),
        _ => return Ok(None),
    };
    parsed.map(Some).map_err(|reason| MeasureError::Elf {
        path: path.to_path_buf(),
        reason,
    })
}

fn parse<E: FileHeader<Endian = Endianness>>(data: &ReadCache<File>) -> Result<Needs, String> {
    let said = |error: object::read::Error| error.to_string();
    let header = E::parse(data).map_err(said)?;
    let endian = header.endian().map_err(said)?;
    let segments = header.program_headers(endian, data).map_err(said)?;
    let mut needs = Needs {
        machine: header.e_machine(endian),
        wide: header.is_type_64(),
        ..Needs::default()
    };
    let mut entries: Vec<(u64, u64)> = Vec::new();
    for segment in segments {
        if let Some(path) = segment.interpreter(endian, data).map_err(said)? {
            needs.interpreter = Some(PathBuf::from(text(path)?));
        }
        for entry in segment
            .dynamic(endian, data)
            .map_err(said)?
            .unwrap_or_default()
        {
            entries.push((entry.d_tag(endian).into(), entry.d_val(endian).into()));
        }
    }
    let value = |tag| {
        entries
            .iter()
            .find(|entry| entry.0 == u64::from(tag))
            .map(|entry| entry.1)
    };
    let (Some(address), Some(size)) = (value(DT_STRTAB), value(DT_STRSZ)) else {
        return Ok(needs);
    };
    let offset = file_offset::<E>(segments, endian, address).ok_or("its strings are nowhere")?;
    let strings = StringTable::new(data, offset, offset.saturating_add(size));
    for (tag, value) in entries {
        let Some(list) = needs.list(tag) else {
            continue;
        };
        let found = u32::try_from(value)
            .map_err(|_| ())
            .and_then(|value| strings.get(value));
        list.push(text(
            found.map_err(|()| "a name lies outside its strings")?,
        )?);
    }
    Ok(needs)
}

fn file_offset<E: FileHeader<Endian = Endianness>>(
    segments: &[E::ProgramHeader],
    endian: Endianness,
    address: u64,
) -> Option<u64> {
    segments
        .iter()
        .filter(|segment| segment.p_type(endian) == PT_LOAD)
        .find_map(|segment| {
            let inside = address.checked_sub(segment.p_vaddr(endian).into())?;
            let offset: u64 = segment.p_offset(endian).into();
            (inside < segment.p_filesz(endian).into())
                .then(|| offset.checked_add(inside))
                .flatten()
        })
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a name is not text".to_owned())
}

impl Needs {
    /// Where an entry of the dynamic section with this tag is kept.
    fn list(&mut self, tag: u64) -> Option<&mut Vec<String>> {
        match u32::try_from(tag).ok()? {
            DT_NEEDED => Some(&mut self.libraries),
            DT_RPATH => Some(&mut self.rpath),
            DT_RUNPATH => Some(&mut self.runpath),
            _ => None,
        }
    }
}
