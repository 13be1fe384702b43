//! From the command line to the files: which step comes after which.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum as _;
use image_layout::configuration::Configuration;
use image_layout::esp;
use image_layout::version::Version;

use crate::base::{Base, Wish};
use crate::cli::{Build, CommandLine, Common, Disks, Form, Update, What};
use crate::compress::Codec;
use crate::disk::Enrolment;
use crate::enrolment::{List, Others};
use crate::error::{Blame, Error};
use crate::initrd::{Facts, Program};
use crate::packages::{Packages, Resolve};
use crate::progress::Progress;
use crate::recipe::{Compression, Lock, Recipe, lock_path};
use crate::signing::Keys;
use crate::{authenticode, bill, disk, enrolment, files, help, initrd, iso, ova, qcow2, slot, vhd};

/// Does what the command line says.
pub fn run(line: &CommandLine) -> Result<(), Error> {
    match &line.what {
        Some(What::Fetch(common)) => {
            let progress = Progress::start(common.quiet);
            let recipe = Recipe::read(&common.recipe)?;
            packages(common, &recipe, &progress)?;
            progress.say("every package is there");
            Ok(())
        }
        Some(What::Initrd(build)) => {
            let progress = Progress::start(build.common.quiet);
            let parts = Parts::make(build, For::Qemu, &progress)?;
            let out = out_folder(build);
            files::write(&out.join("vmlinuz"), &parts.base.kernel)?;
            files::write(&out.join("initrd.zst"), &parts.initrd)?;
            progress.say(&format!("{}: vmlinuz and initrd.zst", out.display()));
            Ok(())
        }
        Some(What::Update(update)) => self::update(update).map(drop),
        None => disks(&line.disks).map(drop),
    }
}

/// A file that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its name in the folder of results.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
}

/// Makes every form that is asked for, the slot by itself, the bill of materials, and the sums of all of them.
pub fn disks(disks: &Disks) -> Result<Vec<Made>, Error> {
    let build = &disks.build;
    let progress = Progress::start(build.common.quiet);
    let parts = Parts::make(build, For::Slot(&disks.append), &progress)?;
    let slot = parts.slot()?;
    let configuration = disks.configuration.as_deref().map(files::read).transpose()?;
    if let Some(bytes) = &configuration {
        check(bytes)?;
    }
    let manager = authenticode::sign("the boot manager", &parts.base.manager, &parts.keys.boot)?;
    let help = authenticode::sign("the help", &help::program(), &parts.keys.boot)?;
    let lists = Lists::make(&parts, disks.microsoft.as_deref())?;
    let enrolment = if disks.enrol { Enrolment::Always } else { Enrolment::Asked };
    let disk = disk::make(&disk::Contents {
        manager: &manager,
        help: &help,
        slot: &slot,
        configuration: configuration.as_deref(),
        keys: &lists.on_medium(),
        enrolment,
    })?;
    let shown = format!("{}{}", parts.facts.version, parts.facts.keys.mark());
    let out = Out { folder: out_folder(build), progress: &progress };
    let built = parts.lock.resolved;
    let name = |ending: &str| format!("lifeboat{}.{ending}", parts.keys.suffix());
    let mut made =
        vec![out.write(name("efi"), &slot)?, out.write(name("cdx.json"), parts.bill.as_bytes())?];
    for (name, bytes) in lists.beside() {
        made.push(out.write(name, &bytes)?);
    }
    let mut forms = disks.form.clone();
    if forms.is_empty() {
        forms = Form::value_variants().to_vec();
    }
    forms.sort_unstable();
    forms.dedup();
    for form in forms {
        let bytes = match form {
            Form::Raw => disk.bytes.clone(),
            Form::Iso => iso::make(&disk, built)?,
            Form::Vhd => vhd::make(disk.bytes.clone(), &disk.identity, built)?,
            Form::Ova => ova::make(&disk.bytes, &disk.identity, built, &shown)?,
            Form::Qcow2 => qcow2::make(&disk.bytes)?,
        };
        made.push(out.write(name(form.ending()), &bytes)?);
    }
    let sums: String =
        made.iter().map(|made| format!("{}  {}\n", made.sha256, made.name)).collect();
    files::write(&out.folder.join("SHA256SUMS"), sums.as_bytes())?;
    parts.warn();
    progress.say(&format!("done: {}", out.folder.display()));
    Ok(made)
}

/// Makes the file of an update.
pub fn update(wish: &Update) -> Result<Made, Error> {
    let progress = Progress::start(wish.build.common.quiet);
    let parts = Parts::make(&wish.build, For::Slot(&wish.append), &progress)?;
    let slot = parts.slot()?;
    let Facts { version, least, built, .. } = parts.facts;
    let bytes = crate::update::make(&slot, version, least, built, &parts.keys.release)?;
    let out = Out { folder: out_folder(&wish.build), progress: &progress };
    let made = out.write(format!("lifeboat-{version}{}.update", parts.keys.suffix()), &bytes)?;
    parts.warn();
    Ok(made)
}

/// The lists of keys for firmware, without Microsoft's certificates and with them; none where their owners sign elsewhere.
struct Lists(Vec<(&'static str, &'static str, Vec<List>)>);

impl Lists {
    fn make(parts: &Parts, microsoft: Option<&Path>) -> Result<Self, Error> {
        let mut all = Vec::new();
        let Some(owners) = &parts.keys.owners else { return Ok(Self(all)) };
        let at = parts.lock.resolved;
        let ours = enrolment::lists(&parts.keys, owners, None, at)?;
        all.push((esp::KEYS_FOLDER, "keys", ours));
        if let Some(folder) = microsoft {
            let both = enrolment::lists(&parts.keys, owners, Some(&Others::read(folder)?), at)?;
            all.push((esp::KEYS_WITH_MICROSOFT_FOLDER, "keys-with-microsoft", both));
        }
        Ok(Self(all))
    }

    fn on_medium(&self) -> Vec<(String, Vec<u8>)> {
        let lists = self
            .0
            .iter()
            .flat_map(|(folder, _, lists)| lists.iter().map(move |list| (folder, list)));
        lists
            .map(|(folder, list)| (format!("{folder}/{}.auth", list.name), list.signed.clone()))
            .collect()
    }

    /// The same as files beside the image, for whoever enrols by the firmware's own menu.
    fn beside(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        for (_, folder, lists) in &self.0 {
            for list in lists {
                files.push((format!("{folder}/{}.auth", list.name), list.signed.clone()));
                files.push((format!("{folder}/{}.esl", list.name), list.list.clone()));
            }
        }
        files
    }
}

/// Refuses a `lifeboat.toml` that PID 1 would refuse; what stands under `network` is the network's to judge.
fn check(bytes: &[u8]) -> Result<(), Error> {
    let read = Configuration::<toml::Table>::parse(bytes);
    read.map(drop).map_err(|error| {
        Error::new(Blame::Misuse, "--configuration", error.to_string(), "correct it")
    })
}

struct Out<'a> {
    folder: PathBuf,
    progress: &'a Progress,
}

impl Out<'_> {
    fn write(&self, name: String, bytes: &[u8]) -> Result<Made, Error> {
        files::write(&self.folder.join(&name), bytes)?;
        self.progress.say(&format!("{name}: {} KiB", bytes.len().div_ceil(1024)));
        Ok(Made { name, bytes: bytes.len() as u64, sha256: files::sha256(bytes) })
    }
}

/// What the parts are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For<'a> {
    /// A slot, which has little room; with these words behind its command line.
    Slot(&'a str),
    /// A kernel and its first file system, which QEMU starts by themselves.
    Qemu,
}

/// What every form of the image is made of.
#[derive(Debug)]
pub struct Parts {
    /// The recipe.
    pub recipe: Recipe,
    /// What it was resolved to.
    pub lock: Lock,
    /// Kernel, stub, boot manager, modules.
    pub base: Base,
    /// What it is made of, as it says itself inside.
    pub bill: String,
    /// The first file system.
    pub initrd: Vec<u8>,
    /// Who signs.
    pub keys: Keys,
    /// What tells this image from others.
    pub facts: Facts,
}

impl Parts {
    /// Makes them.
    pub fn make(build: &Build, aim: For<'_>, progress: &Progress) -> Result<Self, Error> {
        let recipe = Recipe::read(&build.common.recipe)?;
        let Compression { preset, fast_preset, initrd_level } = recipe.compression;
        let (modules, packed) = match (aim, build.fast) {
            (For::Qemu, _) => (Codec::Zstandard(initrd_level), Codec::Zstandard(initrd_level)),
            (For::Slot(_), true) => (Codec::Xz(preset), Codec::Xz(fast_preset)),
            (For::Slot(_), false) => (Codec::Xz(preset), Codec::Xz(preset)),
        };
        let packages = packages(&build.common, &recipe, progress)?;
        let wish = Wish { recipe: &recipe, codec: modules, no_firmware: build.no_firmware };
        let base = Base::obtain(&wish, &packages, &cache_folder(&build.common), progress)?;
        let (init, agent) = programs(build, progress)?;
        let read = |program: &PathBuf| {
            progress.say(&format!("packing {}", program.display()));
            let bytes = files::read(program)?;
            Ok(Program { name: program.display().to_string(), bytes })
        };
        let (init, agent) = (read(&init)?, agent.as_ref().map(read).transpose()?);
        let keys = match &build.keys {
            Some(folder) => Keys::read(folder)?,
            None => Keys::development(&development_keys())?,
        };
        let ours = Version::parse(env!("CARGO_PKG_VERSION")).unwrap_or_default();
        let version = build.numbered.unwrap_or(ours);
        let built = packages.lock.resolved;
        let words = match aim {
            For::Slot(append) => {
                let own = recipe.kernel.command_line.iter().map(String::as_str);
                Some(own.chain(append.split_whitespace()).collect::<Vec<_>>().join(" "))
            }
            For::Qemu => None,
        };
        let facts = Facts { version, least: build.least, built, keys: keys.trusted(), words };
        let shown = format!("{}{}", facts.version, facts.keys.mark());
        let crates = bill::crates(workspace())?;
        let bill = bill::write(&packages.lock, !build.no_firmware, &crates, &shown)?;
        let initrd = initrd::join(&base, &init, agent.as_ref(), &facts, &bill, packed)?;
        Ok(Self { recipe, lock: packages.lock, base, bill, initrd, keys, facts })
    }

    fn slot(&self) -> Result<Vec<u8>, Error> {
        let words = self.facts.words.as_deref().unwrap_or_default();
        slot::join(&self.base, &self.initrd, words, self.facts.version, &self.keys)
    }

    /// Says what nobody may overlook.
    fn warn(&self) {
        if self.keys.development {
            eprintln!(
                "image: warning: signed by a development key that nobody guards; for a release name keys by --keys"
            );
        }
    }
}

fn packages(common: &Common, recipe: &Recipe, progress: &Progress) -> Result<Packages, Error> {
    let resolve = match (common.locked, common.newest) {
        (true, _) => Resolve::Locked,
        (false, true) => Resolve::Newest,
        (false, false) => Resolve::AsNeeded,
    };
    let lock = lock_path(&common.recipe);
    Packages::obtain(recipe, &lock, &cache_folder(common), resolve, progress)
}

/// What becomes PID 1, and the agent: those that are named, or both as they are built. Who names the one and not the other
/// gets an image without an agent.
fn programs(build: &Build, progress: &Progress) -> Result<(PathBuf, Option<PathBuf>), Error> {
    if let Some(init) = &build.init {
        return Ok((init.clone(), build.agent.clone()));
    }
    let folder = built(progress)?;
    let agent = build.agent.clone().unwrap_or_else(|| folder.join("lifeboat-agent"));
    Ok((folder.join("lifeboat"), Some(agent)))
}

/// Builds our programs, and says in which folder they are.
fn built(progress: &Progress) -> Result<PathBuf, Error> {
    progress.say("building lifeboat and lifeboat-agent");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--quiet", "-p", "firmware", "-p", "pipeline-agent"])
        .current_dir(workspace())
        .status();
    let problem = match status {
        Ok(status) if status.success() => {
            return Ok(target_folder().join("x86_64-unknown-linux-gnu/release"));
        }
        Ok(status) => format!("the build ended with {status}"),
        Err(error) => error.to_string(),
    };
    Err(Error::new(
        Blame::Machine,
        "cargo build --release -p firmware -p pipeline-agent",
        problem,
        "look above for the reason, or name a program by --init",
    ))
}

fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

fn target_folder() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(named) => workspace().join(named),
        None => workspace().join("target"),
    }
}

/// Where keys are that were made because none were named.
#[must_use]
pub fn development_keys() -> PathBuf {
    target_folder().join("image/development-keys")
}

/// Where downloads are kept.
fn cache_folder(common: &Common) -> PathBuf {
    let named = common.cache.clone();
    named
        .or_else(|| std::env::var_os("LIFEBOAT_IMAGE_CACHE").map(PathBuf::from))
        .unwrap_or_else(|| target_folder().join("image/cache"))
}

/// Where results go.
fn out_folder(build: &Build) -> PathBuf {
    build.out.clone().unwrap_or_else(|| target_folder().join("image"))
}
