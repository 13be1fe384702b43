//! Page blobs in Azurite, with signatures for them as Azure gives out for disks that are uploaded; and others who read them.

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use pipeline_azure::pages::{PageBlob, PageOptions};
use pipeline_azure::sas::make::{Resource, Terms, service};
use pipeline_azure::sign::SharedKey;
use pipeline_azure::{AzureAddress, AzureOptions, AzureStore, Credentials, Secret};
use pipeline_vault::store::BlobStore as _;
use tests::azurite::{ACCOUNT, Azurite, KEY, install_once, run};

/// The container that they are in.
const CONTAINER: &str = "uploads";
const SDK: &str = "azure-storage-blob==12.31.1";

/// A container of page blobs.
pub(crate) struct Uploads {
    address: AzureAddress,
    authority: String,
}

fn key() -> Credentials {
    Credentials::shared_key(ACCOUNT, &Secret::new(KEY)).unwrap()
}

impl Uploads {
    pub(crate) fn new(azurite: &Azurite) -> Self {
        let address = AzureAddress::parse(&azurite.vault(CONTAINER)).unwrap();
        let store = AzureStore::open(&address, key(), AzureOptions::default()).unwrap();
        store.prepare().unwrap();
        Self { address, authority: azurite.authority() }
    }

    fn blob(&self, name: &str) -> PageBlob {
        PageBlob::kept(&self.address, name, key(), &PageOptions::default()).unwrap()
    }

    /// Makes a blob of zeros, as a new disk is. Gives its name.
    pub(crate) fn make(&self, name: &str, bytes: u64) -> String {
        assert_eq!(self.blob(name).create(bytes), Ok(true));
        name.to_owned()
    }

    pub(crate) fn put(&self, name: &str, offset: u64, bytes: &[u8]) {
        self.blob(name).write(offset, bytes).unwrap();
    }

    /// `sas:` and the blob's address with a signature that lasts so many seconds from now on.
    pub(crate) fn sas(&self, name: &str, seconds: i64) -> String {
        self.sas_at(name, &self.authority, seconds)
    }

    /// The same through something in front of Azurite.
    pub(crate) fn sas_at(&self, name: &str, authority: &str, seconds: i64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let lasting = Duration::from_secs(seconds.unsigned_abs());
        let until = if seconds < 0 { now - lasting } else { now + lasting };
        let mut date = Command::new("date");
        date.args(["-u", "-d", &format!("@{}", until.as_secs()), "+%Y-%m-%dT%H:%M:%SZ"]);
        let terms = Terms {
            permissions: "rw".to_owned(),
            expiry: run(&mut date).unwrap().trim().to_owned(),
            version: "2024-11-04".to_owned(),
            ..Terms::default()
        };
        let key = SharedKey::new(ACCOUNT, &Secret::new(KEY)).unwrap();
        let resource = Resource::Blob { container: CONTAINER, name, snapshot: "" };
        let token = service(&key, &terms, resource).unwrap();
        let query = token.query().expose();
        format!("sas:http://{authority}/{ACCOUNT}/{CONTAINER}/{name}?{query}")
    }

    /// `pageblob:` and the blob's address by one's own credentials.
    pub(crate) fn page_blob(&self, name: &str) -> String {
        let endpoint = format!("http://{}/{ACCOUNT}", self.authority);
        format!("pageblob:azure://{ACCOUNT}/{CONTAINER}/{name}?endpoint={endpoint}")
    }

    /// Reads the whole blob into a file.
    pub(crate) fn fetch(&self, name: &str, into: &Path) -> PathBuf {
        let blob = self.blob(name);
        let mut bytes = vec![0; usize::try_from(blob.bytes().unwrap()).unwrap()];
        for (at, part) in (0..).step_by(4 << 20).zip(bytes.chunks_mut(4 << 20)) {
            blob.read(at, part).unwrap();
        }
        fs::write(into, bytes).unwrap();
        into.to_owned()
    }

    /// Has Microsoft's SDK read the blob, and says whether it got the same bytes as we did. An error where it cannot be had.
    pub(crate) fn by_microsoft(&self, name: &str, into: &Path) -> Result<bool, String> {
        const SCRIPT: &str = r#"
import pathlib, sys
from azure.storage.blob import BlobClient
url, into = sys.argv[1:]
blob = BlobClient.from_blob_url(url, api_version="2026-06-06")
assert blob.get_blob_properties().blob_type.value == "PageBlob"
pathlib.Path(into).write_bytes(blob.download_blob().readall())
"#;
        let made =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../.lifeboat/tools/python/bin/python");
        let mut python = made;
        if run(Command::new(&python).args(["-c", "import azure.storage.blob"])).is_err() {
            let folder = install_once("python-azure-storage-blob", &|folder| {
                run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
                let mut pip = Command::new(folder.join("bin/python"));
                pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", SDK]);
                run(&mut pip).map(drop)
            })?;
            python = folder.join("bin/python");
        }
        let url = self.sas(name, 3600).trim_start_matches("sas:").to_owned();
        run(Command::new(python).args(["-c", SCRIPT, &url]).arg(into))?;
        let ours = self.fetch(name, &into.with_extension("ours"));
        Ok(fs::read(into).unwrap() == fs::read(ours).unwrap())
    }
}
