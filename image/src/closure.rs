//! Which modules are needed for those that the recipe names, and in which order they can be loaded.

use std::collections::{BTreeMap, BTreeSet};

use image_layout::modules::Index;

use crate::error::{Blame, Error};
use crate::modinfo::{ModuleInfo, canonical};

/// All modules of a kernel.
#[derive(Debug, Default)]
pub struct Kernel {
    /// By canonical name.
    pub modules: BTreeMap<String, ModuleInfo>,
    /// Canonical names of what is built in.
    pub built_in: BTreeSet<String>,
}

impl Kernel {
    /// The named modules and everything that they need, in an order that can be loaded.
    pub fn closure<'a>(&self, wanted: impl Iterator<Item = &'a str>) -> Result<Vec<String>, Error> {
        let mut chosen = BTreeSet::new();
        let mut open = Vec::new();
        for name in wanted {
            match self.hard(name)? {
                Some(name) => open.push(name),
                None => continue,
            }
        }
        while let Some(name) = open.pop() {
            let Some(info) = self.modules.get(&name) else { continue };
            if !chosen.insert(name) {
                continue;
            }
            for need in &info.depends {
                open.extend(self.hard(need)?);
            }
            for wish in info.before.iter().chain(&info.after) {
                open.extend(self.soft(wish));
            }
        }
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for name in &chosen {
            self.place(name, &chosen, &mut seen, &mut order);
        }
        Ok(order)
    }

    /// The index of these modules, which are in an order that can be loaded.
    pub fn index(&self, order: &[String]) -> Result<Index, Error> {
        let broken = |what: String| Error::corrupt("the kernel's modules", what);
        let mut index = Index::default();
        for name in order {
            let needs = self.needs(name);
            // A wish that could only be met by a circle is left out; what is needed never is.
            let placed =
                needs.iter().map(String::as_str).filter(|need| index.place(need).is_some());
            let placed: Vec<&str> = placed.collect();
            index.add(name, &format!("{name}.ko"), &placed).map_err(broken)?;
        }
        for name in order {
            let aliases = self.modules.get(name).map(|info| info.aliases.as_slice());
            let mut aliases: Vec<&String> = aliases.unwrap_or_default().iter().collect();
            aliases.sort_unstable();
            aliases.dedup();
            for alias in aliases.into_iter().filter(|alias| names_a_device(alias)) {
                index.add_alias(alias, name).map_err(broken)?;
            }
        }
        Ok(index)
    }

    /// The module of a name that must be there; `None` where it is built in.
    fn hard(&self, name: &str) -> Result<Option<String>, Error> {
        let name = canonical(name);
        if self.modules.contains_key(&name) {
            return Ok(Some(name));
        }
        if self.built_in.contains(&name) {
            return Ok(None);
        }
        Err(Error::new(
            Blame::Misuse,
            format!("module {name}"),
            "this kernel does not have it",
            "take it out of the recipe, or correct its name",
        ))
    }

    /// The modules that a wish means: one of that name, or all that go by it.
    fn soft(&self, name: &str) -> Vec<String> {
        let name = canonical(name);
        if self.modules.contains_key(&name) {
            return vec![name];
        }
        let goes_by = |info: &ModuleInfo| info.aliases.iter().any(|alias| canonical(alias) == name);
        let found = self.modules.iter().filter(|(_, info)| goes_by(info));
        found.map(|(name, _)| name.clone()).collect()
    }

    /// What should be in before a module: first what is needed.
    fn needs(&self, name: &str) -> Vec<String> {
        let Some(info) = self.modules.get(name) else { return Vec::new() };
        let wishes = info.before.iter().flat_map(|wish| self.soft(wish));
        let mut needs: Vec<String> = info.depends.iter().cloned().chain(wishes).collect();
        let mut seen = BTreeSet::new();
        needs.retain(|need| need != name && seen.insert(need.clone()));
        needs
    }

    fn place(
        &self,
        name: &str,
        chosen: &BTreeSet<String>,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<String>,
    ) {
        if !chosen.contains(name) || !seen.insert(name.to_owned()) {
            return;
        }
        for need in self.needs(name) {
            self.place(&need, chosen, seen, order);
        }
        order.push(name.to_owned());
    }
}

/// Whether an alias is a pattern of modaliases of devices that a server has.
fn names_a_device(alias: &str) -> bool {
    alias.contains(':') && !alias.starts_with("of:") && !alias.starts_with("devname:")
}

#[cfg(test)]
mod tests;
