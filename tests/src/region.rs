//! A stand-in for a region of Azure, with Azurite as its storage: started for a test, and ended with it.

use pipeline_azure::arm::client::ControlPlane;
use pipeline_azure::cloud::COMMERCIAL;
use qemu::region::faults::Rule;
use qemu::region::{Account, Application, Server, Settings};
use serde_json::Value;

use crate::azurite::{ACCOUNT, Azurite, KEY, Scratch};
use crate::fault_proxy::FaultProxy;
use crate::specifications::{Verdict, Whose, hold};

/// The subscription that tests speak of; the region takes any.
pub const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";
/// The tenant of its application.
pub const TENANT: &str = "11111111-1111-1111-1111-111111111111";
/// The application that it gives tokens to.
pub const CLIENT: &str = "22222222-2222-2222-2222-222222222222";
/// That application's secret.
pub const CLIENT_SECRET: &str = "correct horse/battery+staple=";
/// Where it is.
pub const LOCATION: &str = "westeurope";

/// Whether machines run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machines {
    /// They are only said to, and their consoles say what a table tells.
    Told,
    /// In QEMU.
    Real,
}

/// The region. Dropped, it is gone with its machines and its storage.
#[derive(Debug)]
pub struct StandIn {
    // Ended in this order: machines, then what they read, then where it lies.
    server: Server,
    azurite: Option<Azurite>,
    _folder: Scratch,
}

impl StandIn {
    /// One with Azurite behind it.
    pub fn start(machines: Machines) -> Result<Self, String> {
        Self::with(machines, Settings::default())
    }

    /// One with Azurite behind it and further settings: times, seed, what consoles say.
    pub fn with(machines: Machines, settings: Settings) -> Result<Self, String> {
        let azurite = Azurite::start()?;
        let endpoint = azurite.endpoint();
        Self::over(Some((azurite, endpoint)), machines, settings)
    }

    /// One whose storage is reached by whoever listens before it, for its own requests too.
    pub fn behind(
        proxy: &FaultProxy,
        azurite: Azurite,
        settings: Settings,
    ) -> Result<Self, String> {
        let endpoint = format!("http://{}/{ACCOUNT}", proxy.authority());
        Self::over(Some((azurite, endpoint)), Machines::Told, settings)
    }

    /// One without storage: disks are only said to exist, and nothing can be uploaded.
    pub fn bare(settings: Settings) -> Result<Self, String> {
        Self::over(None, Machines::Told, settings)
    }

    fn over(
        azurite: Option<(Azurite, String)>,
        machines: Machines,
        settings: Settings,
    ) -> Result<Self, String> {
        let folder = Scratch::new("region")?;
        let (azurite, endpoint) = azurite.unzip();
        let account =
            |endpoint| Account { name: ACCOUNT.to_owned(), key: KEY.to_owned(), endpoint };
        let storage = endpoint.map(account);
        let application = Application {
            tenant: TENANT.to_owned(),
            client: CLIENT.to_owned(),
            secret: CLIENT_SECRET.to_owned(),
        };
        let settings = Settings {
            storage,
            machines: machines == Machines::Real,
            applications: vec![application],
            ..settings
        };
        let server = Server::start(([127, 0, 0, 1], 0).into(), settings, folder.path())?;
        Ok(Self { server, azurite, _folder: folder })
    }

    /// Its URL: control plane, login and metadata service in one, without a slash at the end.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// What a program is told in its environment to recover into this region, with its identity.
    pub fn environment(&self) -> Vec<(String, String)> {
        let url = self.url();
        let variables = [
            ("LIFEBOAT_AZURE_MANAGEMENT", url.as_str()),
            ("AZURE_AUTHORITY_HOST", url.as_str()),
            ("AZURE_TENANT_ID", TENANT),
            ("AZURE_CLIENT_ID", CLIENT),
            ("AZURE_CLIENT_SECRET", CLIENT_SECRET),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// The client of its control plane, as the program opens it.
    ///
    /// # Panics
    /// Where the environment of this region is not what the client takes.
    pub fn control_plane(&self) -> ControlPlane {
        let variables = self.environment();
        let lookup = |name: &str| {
            variables.iter().find(|(has, _)| has == name).map(|(_, value)| value.clone())
        };
        let opened = ControlPlane::from_lookup(COMMERCIAL, &lookup);
        opened.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The storage, where there is one: vaults can lie in it too.
    pub fn azurite(&self) -> Option<&Azurite> {
        self.azurite.as_ref()
    }

    /// The server itself, for what has no function here.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What goes wrong from now on.
    pub fn set_faults(&self, rules: Vec<Rule>) {
        self.server.region().set_faults(rules);
    }

    /// How much of something may be used, by Azure's name of it: `cores`, `standardDSv5Family`, `PremiumDiskCount`.
    pub fn set_limit(&self, name: &str, limit: u64) {
        self.server.region().set_limit(name, limit);
    }

    /// Everything that exists: `id`, `type`, `tags`, `state`, `detail` (a disk's or a machine's own state) and `billed`.
    pub fn resources(&self) -> Vec<Value> {
        match self.server.region().resources() {
            Value::Array(all) => all,
            _ => Vec::new(),
        }
    }

    /// Identifiers of what costs while it is there.
    pub fn billed(&self) -> Vec<String> {
        let all = self.resources();
        let billed = all.iter().filter(|one| one["billed"] == true);
        billed.filter_map(|one| one["id"].as_str().map(str::to_owned)).collect()
    }

    /// Requests to the control plane so far, in the form that `validate_arm.py` reads, with `status` and `answer` besides.
    pub fn requests(&self) -> Vec<Value> {
        match self.server.region().requests() {
            Value::Array(all) => all,
            _ => Vec::new(),
        }
    }

    /// The same, and none of them is looked at again: they are no program's of ours.
    pub fn take_requests(&self) -> Vec<Value> {
        let all = self.requests();
        self.server.region().forget_requests();
        all
    }

    /// A port of loopback that leads to this port of a machine, by its identifier; the same for who asks again.
    pub fn forward(&self, machine: &str, port: u16) -> Result<u16, String> {
        self.server.forward(machine, port).map_err(|refusal| refusal.message)
    }

    /// What a machine has said on its serial line, by its identifier; where machines really run.
    pub fn console(&self, machine: &str) -> String {
        String::from_utf8_lossy(&self.server.console(machine)).into_owned()
    }
}

impl Drop for StandIn {
    /// Whatever a test was about: each request that its programs sent is one that Microsoft's specifications allow.
    fn drop(&mut self) {
        // A test that failed says why by itself.
        if std::thread::panicking() {
            return;
        }
        let sent = self.requests();
        let verdict = if sent.is_empty() { None } else { hold(&sent, Whose::Ours) };
        if let Some(Verdict { wrong, checked, operations }) = verdict {
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
            eprintln!("{checked} requests are what Microsoft describes: {}", operations.join(" "));
        }
    }
}
