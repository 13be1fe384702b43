//! The index of kernel modules: what to load for a modalias, and in which order.
//!
//! Text, one fact per line. `M name file need need…` is a module, its file in the folder of modules, and the names of
//! the modules that must be in before it, each of which stands above it: the lines are in an order that can be loaded.
//! `A pattern name` says which modaliases the module named is for.

use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

/// Glob patterns as the kernel's tables write them.
pub mod pattern;

/// Most modules an index holds; no kernel comes near.
pub const MODULES_MAX: usize = 16 * 1024;
/// Most patterns.
pub const PATTERNS_MAX: usize = 256 * 1024;

/// A kernel module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name as the kernel knows it: underscores, never hyphens.
    pub name: String,
    /// Its file in [`crate::initrd::MODULES`].
    pub file: String,
    /// Places in the index, all before its own, of what must be loaded first.
    pub needs: Vec<usize>,
}

/// Which modaliases a module is for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Alias {
    pattern: String,
    module: usize,
}

/// The index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    modules: Vec<Module>,
    /// By the letters that each begins with (`pci`, `usb`): no pattern has a wildcard there.
    aliases: BTreeMap<String, Vec<Alias>>,
    names: BTreeMap<String, usize>,
    patterns: usize,
}

impl Index {
    /// Reads an index.
    pub fn parse(text: &[u8]) -> Result<Self, IndexError> {
        let mut index = Self::default();
        for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
            index.line(line).map_err(|what| IndexError { line: number + 1, what })?;
        }
        Ok(index)
    }

    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        if line.is_empty() {
            return Ok(());
        }
        let line = core::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
        if let Some(rest) = line.strip_prefix("M ") {
            let mut words = rest.split(' ');
            let name = words.next().unwrap_or_default();
            let file = words.next().unwrap_or_default();
            let needs: Vec<&str> = words.collect();
            return self.add(name, file, &needs);
        }
        if let Some(rest) = line.strip_prefix("A ") {
            // A pattern may hold blanks, a name may not.
            let (pattern, name) = rest.rsplit_once(' ').ok_or("no module after the pattern")?;
            return self.add_alias(pattern, name);
        }
        Err("begins with neither M nor A".to_owned())
    }

    /// Puts a module at the end. What it needs must be in already.
    pub fn add(&mut self, name: &str, file: &str, needs: &[&str]) -> Result<(), String> {
        if !is_name(name) {
            return Err(format!(
                "{:?} is no name of a module",
                name.escape_debug().collect::<String>()
            ));
        }
        let stem = file.strip_suffix(".ko").unwrap_or_default();
        if stem.is_empty() || !stem.bytes().all(|byte| is_letter(byte) || byte == b'-') {
            return Err(format!("module {name} has no file that could be one"));
        }
        if self.modules.len() >= MODULES_MAX {
            return Err(format!("more than {MODULES_MAX} modules"));
        }
        if self.names.contains_key(name) {
            return Err(format!("module {name} is there twice"));
        }
        let place = |need: &&str| {
            let found = self.names.get(*need).copied();
            found.ok_or_else(|| format!("module {name} needs one that is not above it"))
        };
        let needs = needs.iter().map(place).collect::<Result<Vec<usize>, String>>()?;
        self.names.insert(name.to_owned(), self.modules.len());
        self.modules.push(Module { name: name.to_owned(), file: file.to_owned(), needs });
        Ok(())
    }

    /// Says which modaliases a module is for, by a pattern.
    pub fn add_alias(&mut self, pattern: &str, name: &str) -> Result<(), String> {
        let module =
            self.place(name).ok_or_else(|| format!("a pattern for no module: {pattern}"))?;
        if !pattern.contains(':') {
            return Err(format!("no colon in {pattern}"));
        }
        let bus = bus(pattern).ok_or_else(|| format!("no bus before the colon of {pattern}"))?;
        if pattern.contains('\n') || self.patterns >= PATTERNS_MAX {
            return Err(format!("a pattern of two lines, or more than {PATTERNS_MAX} patterns"));
        }
        self.patterns += 1;
        let alias = Alias { pattern: pattern.to_owned(), module };
        self.aliases.entry(bus.to_owned()).or_default().push(alias);
        Ok(())
    }

    /// The modules, in an order in which they can be loaded.
    #[must_use]
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// How many patterns there are.
    #[must_use]
    pub fn patterns(&self) -> usize {
        self.patterns
    }

    /// The place of the module of that name; hyphens count as underscores, as in the kernel.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        match self.names.get(name) {
            Some(place) => Some(*place),
            None => self.names.get(&name.replace('-', "_")).copied(),
        }
    }

    /// Places of the modules that a device of this modalias wants, each once, in order.
    #[must_use]
    pub fn wanted(&self, modalias: &str) -> Vec<usize> {
        let Some(bus) = bus(modalias) else { return Vec::new() };
        let aliases = self.aliases.get(bus).map(Vec::as_slice).unwrap_or_default();
        let fitting = aliases
            .iter()
            .filter(|alias| pattern::matches(alias.pattern.as_bytes(), modalias.as_bytes()));
        let mut places: Vec<usize> = fitting.map(|alias| alias.module).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Everything that must be loaded for the module at `place`, in order, itself last.
    #[must_use]
    pub fn with_needs(&self, place: usize) -> Vec<usize> {
        let mut all = Vec::new();
        let mut open = Vec::from([place]);
        while let Some(next) = open.pop() {
            if let Some(module) = self.modules.get(next)
                && !all.contains(&next)
            {
                all.push(next);
                open.extend(&module.needs);
            }
        }
        // What is needed stands above what needs it.
        all.sort_unstable();
        all
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for module in &self.modules {
            write!(f, "M {} {}", module.name, module.file)?;
            for need in module.needs.iter().filter_map(|&place| self.modules.get(place)) {
                write!(f, " {}", need.name)?;
            }
            f.write_char('\n')?;
        }
        for alias in self.aliases.values().flatten() {
            if let Some(module) = self.modules.get(alias.module) {
                writeln!(f, "A {} {}", alias.pattern, module.name)?;
            }
        }
        Ok(())
    }
}

/// Why an index cannot be read. The image is broken then: nobody but its builder writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexError {
    /// Which line.
    pub line: usize,
    what: String,
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "module index, line {}: {}; the image is damaged, write the stick again",
            self.line, self.what
        )
    }
}

impl core::error::Error for IndexError {}

/// The letters that a modalias or a pattern begins with, where there are any before the colon.
fn bus(text: &str) -> Option<&str> {
    let end = text.bytes().position(|byte| !is_letter(byte) && byte != b'-')?;
    text.get(..end).filter(|bus| !bus.is_empty())
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_letter)
}

#[cfg(test)]
mod tests;
