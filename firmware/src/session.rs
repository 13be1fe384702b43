//! An opened vault as verbs and services need it: store, keys, servers, and what this machine remembers of it.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use hal::time::{Clock, Entropy};
use hal_linux::{SystemClock, SystemEntropy};
use pipeline::ids::ServerId;
use pipeline_azure::credentials::Credentials;
use pipeline_azure::store::{AzureOptions, AzureStore};
use pipeline_azure::transport::TransportOptions;
use pipeline_vault::Error;
use pipeline_vault::access::Access;
use pipeline_vault::expect;
use pipeline_vault::keys::key_file::KeyFile;
use pipeline_vault::keys::ticket::Ticket;
use pipeline_vault::points::{ChainView, read_chain, read_chain_leniently};
use pipeline_vault::restore::{Ahead, WORKERS_MAX, read_chain_ahead};
use pipeline_vault::store::BlobStore;
use pipeline_vault::store::directory::DirectoryStore;
use pipeline_vault::store::head_start::{HeadStart, Remembered};
use pipeline_vault::tickets;
use pipeline_vault::vault::Vault;
use pipeline_vault::vault::known::{self, Head, Known};
use zeroize::Zeroizing;

use crate::cli::Opening;
use crate::vault_uri::VaultUri;

/// Longest passphrase; a file that is longer is not one.
const PASSPHRASE_BYTES_MAX: u64 = 4096;
/// Bytes of a key file that tell a ticket from a key.
const PEEK_BYTES: u64 = 4096;

/// Settings and credentials by the names that they have in an environment: the process's own, or a table that nobody else sees.
pub type Settings = Arc<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// This machine's clock and randomness, and what is set on it.
#[derive(Clone)]
pub struct Machine {
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The random generator.
    pub entropy: Arc<dyn Entropy>,
    /// Settings and credentials.
    pub settings: Settings,
}

impl Machine {
    /// The real one, with the process's environment.
    #[must_use]
    pub fn real() -> Self {
        Self::with(Arc::new(|name| std::env::var_os(name)))
    }

    /// The real one with settings of its own.
    #[must_use]
    pub fn with(settings: Settings) -> Self {
        Self { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy), settings }
    }

    /// The real one with these settings and no others: names and values.
    #[must_use]
    pub fn with_table(table: Vec<(String, String)>) -> Self {
        let find = move |name: &str| {
            let found = table.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Self::with(Arc::new(find))
    }
}

/// Where a vault's objects are.
pub enum Place {
    /// A folder.
    Directory(Arc<DirectoryStore>),
    /// A container.
    Azure(Arc<AzureStore>),
}

impl Place {
    /// The store that a person named; credentials and proxies come from the machine's settings.
    pub fn of(uri: &VaultUri, machine: &Machine) -> Result<Self, Error> {
        match uri {
            VaultUri::Directory(path) => {
                let store = DirectoryStore::new(path, Arc::clone(&machine.clock));
                Ok(Self::Directory(Arc::new(store)))
            }
            VaultUri::Azure(address) => {
                let lookup = |name: &str| (machine.settings)(name)?.into_string().ok();
                let (credentials, address) = Credentials::from_lookup(address, &lookup)?;
                let transport = TransportOptions::from_lookup(&lookup)?;
                let options = AzureOptions { transport, ..AzureOptions::default() };
                Ok(Self::Azure(Arc::new(AzureStore::open(&address, credentials, options)?)))
            }
        }
    }

    /// Its read-only copy in the paired region.
    pub fn secondary(&self) -> Result<Self, Error> {
        match self {
            Self::Azure(store) => Ok(Self::Azure(Arc::new(store.secondary()?))),
            Self::Directory(store) => {
                Err(Error::misuse(store.place(), "has no secondary: only Azure keeps such copies")
                    .remedy("leave out --secondary"))
            }
        }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> Arc<dyn BlobStore> {
        match self {
            Self::Directory(store) => Arc::clone(store) as Arc<dyn BlobStore>,
            Self::Azure(store) => Arc::clone(store) as Arc<dyn BlobStore>,
        }
    }

    /// Opens connections for as many workers as read well from here, in the background. False where that is too early.
    fn connect_ahead(&self) -> bool {
        match self {
            // Each reads the halves of an object at once.
            Self::Azure(store) => store.connect_ahead(2 * self.readers()),
            Self::Directory(_) => true,
        }
    }

    /// How many workers restore and read well from here.
    #[must_use]
    pub fn readers(&self) -> usize {
        match self {
            Self::Directory(_) => hal_linux::process::processors().min(WORKERS_MAX),
            // Most of the time they wait for a far away answer, and the store lets through as many as pay.
            Self::Azure(_) => WORKERS_MAX,
        }
    }
}

/// What opened the vault.
enum Opened {
    Whole(Box<Vault>),
    Ticket(Box<Ticket>, Access),
}

/// An opened vault.
pub struct Session {
    opened: Opened,
    place: Place,
    known: Option<Known>,
}

impl Session {
    /// Opens the vault with the key or ticket named.
    pub fn open(opening: &Opening, machine: &Machine) -> Result<Self, Error> {
        let place = Place::of(&opening.vault, machine)?;
        let store = place.store();
        Self::open_at(place, store, opening, machine)
    }

    /// The same for somebody who moves a disk: connections are opened meanwhile.
    pub fn open_to_move(opening: &Opening, machine: &Machine) -> Result<Self, Error> {
        let place = Place::of(&opening.vault, machine)?;
        Self::connected(place, &|store| store, opening, machine)
    }

    /// The same for somebody who brings one back: what is asked first of a vault far away is asked at once.
    pub fn open_to_restore(opening: &Opening, machine: &Machine) -> Result<Self, Error> {
        let place = Place::of(&opening.vault, machine)?;
        let early = |store: Arc<dyn BlobStore>| -> Arc<dyn BlobStore> {
            if store.is_near() {
                return store;
            }
            let remembered = last_seen(opening, machine).unwrap_or_default();
            Arc::new(HeadStart::knowing(store, &remembered))
        };
        Self::connected(place, &early, opening, machine)
    }

    fn connected(
        place: Place,
        wrap: &dyn Fn(Arc<dyn BlobStore>) -> Arc<dyn BlobStore>,
        opening: &Opening,
        machine: &Machine,
    ) -> Result<Self, Error> {
        let connects = place.connect_ahead();
        let store = wrap(place.store());
        let session = Self::open_at(place, store, opening, machine)?;
        if !connects {
            session.place.connect_ahead();
        }
        Ok(session)
    }

    /// The same at its secondary.
    pub fn open_secondary(opening: &Opening, machine: &Machine) -> Result<Self, Error> {
        let place = Place::of(&opening.vault, machine)?.secondary()?;
        let store = place.store();
        Self::open_at(place, store, opening, machine)
    }

    fn open_at(
        place: Place,
        store: Arc<dyn BlobStore>,
        opening: &Opening,
        machine: &Machine,
    ) -> Result<Self, Error> {
        let passphrase = passphrase(opening.passphrase_file.as_deref(), &machine.settings)?;
        let passphrase = passphrase.as_ref().map(|words| words.as_str());
        if is_ticket(&opening.key_file) {
            let ticket = Box::new(Ticket::read(&opening.key_file, passphrase)?);
            let (clock, entropy) = (Arc::clone(&machine.clock), Arc::clone(&machine.entropy));
            let access = tickets::access((*ticket).clone(), store, clock, entropy)?;
            return Ok(Self { opened: Opened::Ticket(ticket, access), place, known: None });
        }
        let key = KeyFile::read(&opening.key_file)?.open(passphrase)?;
        let open = if opening.older_key { Vault::salvage } else { Vault::open };
        let (clock, entropy) = (Arc::clone(&machine.clock), Arc::clone(&machine.entropy));
        let vault = open(store, clock, entropy, &key)?;
        let known = remembered(&vault, &machine.settings)?;
        if let Some(known) = &known {
            match known.check_ring(vault.ring().version()) {
                Err(trouble) if opening.older_key => log::warn!("{trouble}"),
                checked => checked?,
            }
        }
        let mut session = Self { opened: Opened::Whole(Box::new(vault)), place, known };
        session.note_ring();
        Ok(session)
    }

    /// What operations on the vault are handed.
    #[must_use]
    pub fn access(&self) -> Access {
        match &self.opened {
            Opened::Whole(vault) => vault.access(),
            Opened::Ticket(_, access) => access.clone(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The whole vault; a ticket opens less.
    pub fn vault(&mut self) -> Result<&mut Vault, Error> {
        match &mut self.opened {
            Opened::Whole(vault) => Ok(vault),
            Opened::Ticket(..) => {
                Err(Error::misuse("ticket", "opens one point only, which this needs more than")
                    .remedy("give --key-file the recovery key"))
            }
        }
    }

    /// What this machine knows of the vault.
    #[must_use]
    pub fn known(&self) -> Option<&Known> {
        self.known.as_ref()
    }

    /// The servers that can be read, by name.
    #[must_use]
    pub fn servers(&self) -> Vec<(String, ServerId)> {
        match &self.opened {
            Opened::Whole(vault) => {
                vault.servers().iter().map(|server| (server.name.clone(), server.id)).collect()
            }
            Opened::Ticket(ticket, _) => vec![(ticket.server_name.clone(), ticket.server)],
        }
    }

    /// A server by its name.
    pub fn server(&self, name: &str) -> Result<ServerId, Error> {
        match &self.opened {
            Opened::Whole(vault) => Ok(vault.server(name)?.id),
            Opened::Ticket(ticket, _) if ticket.server_name == name => Ok(ticket.server),
            Opened::Ticket(ticket, _) => {
                Err(Error::misuse(format!("server {name}"), "is not what this ticket opens")
                    .remedy(format!("it opens {}", ticket.server_name)))
            }
        }
    }

    /// Whether only one point is open to this session.
    #[must_use]
    pub fn has_ticket(&self) -> bool {
        matches!(self.opened, Opened::Ticket(..))
    }

    /// A server's chain, after making sure that this machine never saw a newer one. With a ticket, its point alone.
    pub fn chain(&mut self, server: ServerId) -> Result<ChainView, Error> {
        if let Opened::Ticket(ticket, access) = &self.opened {
            return tickets::read_point(access, ticket);
        }
        let view = read_chain(&self.access(), server)?;
        self.check(&view)?;
        self.note(&view);
        Ok(view)
    }

    /// A chain that was read without holding the session: it is made sure that this machine never saw a newer one.
    pub fn believe(&mut self, view: &ChainView) -> Result<(), Error> {
        self.check(view)?;
        self.note(view);
        Ok(())
    }

    /// The same with what a restore wants to know besides, in the same round trips. Not for tickets, which open less.
    pub fn chain_ahead(&mut self, server: ServerId) -> Result<(ChainView, Ahead), Error> {
        let (view, ahead) = read_chain_ahead(&self.access(), server)?;
        self.check(&view)?;
        self.note(&view);
        Ok((view, ahead))
    }

    /// The same of what still stands, and what is wrong with it.
    pub fn chain_leniently(
        &mut self,
        server: ServerId,
    ) -> Result<(ChainView, Option<Error>), Error> {
        if let Opened::Ticket(ticket, access) = &self.opened {
            return Ok((tickets::read_point(access, ticket)?, None));
        }
        let (view, mut problem) = read_chain_leniently(&self.access(), server)?;
        if problem.is_none() {
            problem = self.check(&view).err();
        }
        if problem.is_none() {
            self.note(&view);
        }
        Ok((view, problem))
    }

    fn check(&self, view: &ChainView) -> Result<(), Error> {
        match self.known.as_ref().and_then(|known| known.head(&view.server)) {
            Some(head) => expect::head(view, &head.into()),
            None => Ok(()),
        }
    }

    fn note(&mut self, view: &ChainView) {
        if let Some(head) = expect::head_of(view) {
            self.note_head(head);
        }
    }

    fn note_head(&mut self, head: Head) {
        if let Some(known) = &mut self.known
            && known.head(&head.server) != Some(&head)
        {
            known.note_head(head);
            save(known);
        }
    }

    /// Remembers the key ring's version.
    pub fn note_ring(&mut self) {
        if let (Some(known), Opened::Whole(vault)) = (&mut self.known, &self.opened)
            && known.note_ring(vault.ring().version())
        {
            save(known);
        }
    }
}

/// What this machine remembers of the vault that a key file names: what is asked of it first, and nothing that is believed.
fn last_seen(opening: &Opening, machine: &Machine) -> Option<Remembered> {
    let vault = KeyFile::names_vault(&opening.key_file)?;
    let is_root = rustix::process::geteuid().is_root();
    let folder = known::folder(&|name| (machine.settings)(name), is_root)?;
    let known = Known::peek(&folder, vault)?;
    let heads = known.heads().iter().map(|head| (head.server, head.slot)).collect();
    Some(Remembered { ring_version: known.ring_version(), heads })
}

/// What this machine knows of the vault; nothing where it has no place to remember in.
fn remembered(vault: &Vault, settings: &Settings) -> Result<Option<Known>, Error> {
    let is_root = rustix::process::geteuid().is_root();
    let Some(folder) = known::folder(&|name| settings(name), is_root) else {
        log::info!("this machine has no folder to remember the vault in");
        return Ok(None);
    };
    let (known, trouble) = Known::load(&folder, vault.id())?;
    if let Some(trouble) = trouble {
        log::warn!("{trouble}");
    }
    Ok(Some(known))
}

fn save(known: &mut Known) {
    // Without it a rolled back vault goes unnoticed on this machine; that is no reason to fail a restore.
    if let Err(error) = known.save() {
        log::warn!(
            "{error}; until this is mended, a vault that is rolled back goes unnoticed here"
        );
    }
}

/// Whether a key file is a ticket. A file that cannot be read is for the reader of keys to complain about.
fn is_ticket(path: &Path) -> bool {
    let mut start = Vec::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(PEEK_BYTES).read_to_end(&mut start));
    let text = String::from_utf8_lossy(&start);
    let begin = text.lines().find(|line| line.trim_start().starts_with("-----BEGIN"));
    read.is_ok() && begin.is_some_and(|line| line.to_ascii_uppercase().contains("TICKET"))
}

/// The passphrase of the file named, or of the settings.
pub fn passphrase(
    file: Option<&Path>,
    settings: &Settings,
) -> Result<Option<Zeroizing<String>>, Error> {
    let Some(path) = file else {
        let set = settings("LIFEBOAT_PASSPHRASE").and_then(|words| words.into_string().ok());
        return Ok(set.filter(|words| !words.is_empty()).map(Zeroizing::new));
    };
    let name = format!("passphrase file {}", path.display());
    let unreadable =
        |error: std::io::Error| Error::misuse(&name, format!("cannot be read: {error}"));
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut words = Zeroizing::new(String::with_capacity(4097));
    file.take(PASSPHRASE_BYTES_MAX + 1).read_to_string(&mut words).map_err(unreadable)?;
    let trimmed = words.trim_end_matches(['\n', '\r']);
    if trimmed.is_empty() || words.len() as u64 > PASSPHRASE_BYTES_MAX {
        let what = "holds no passphrase: one line of at most 4096 bytes";
        return Err(Error::misuse(&name, what));
    }
    Ok(Some(Zeroizing::new(trimmed.to_owned())))
}
