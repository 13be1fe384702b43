//! What the store wrote, Microsoft's own SDK lists and reads back; and the other way round.

use std::path::{Path, PathBuf};
use std::process::Command;

use pipeline_azure::request::blob::AccessTier;
use pipeline_azure::{AzureAddress, AzureOptions, AzureStore, Credentials, Secret};
use pipeline_vault::store::{BlobStore as _, Created, list_all};

use tests::azurite::{ACCOUNT, Azurite, KEY, Scratch, install_once, run};

/// The newest API that this Azurite knows; the SDK's own default is newer.
const API_VERSION: &str = "2026-06-06";
const SDK: &str = "azure-storage-blob==12.31.1";

/// Lists a container, fetches every object into a folder, checks checksums and properties, and adds one object.
const SCRIPT: &str = r#"
import json, pathlib, sys
from azure.storage.blob import BlobServiceClient
endpoint, key, container, folder, version = sys.argv[1:]
service = BlobServiceClient(endpoint, credential=key, api_version=version)
client = service.get_container_client(container)
seen = []
for number, blob in enumerate(client.list_blobs()):
    body = client.download_blob(blob.name, validate_content=True).readall()
    pathlib.Path(folder, str(number)).write_bytes(body)
    properties = client.get_blob_client(blob.name).get_blob_properties()
    assert properties.size == blob.size == len(body), blob.name
    assert properties.content_settings.content_type == "application/octet-stream", blob.name
    seen.append({"name": blob.name, "size": blob.size, "type": str(blob.blob_type.value),
                 "tier": str(blob.blob_tier), "modified": int(blob.last_modified.timestamp())})
client.upload_blob("theirs/object", b"written by the SDK", overwrite=False)
print(json.dumps(seen))
"#;

/// A Python that has the SDK: the one that `.ci/install` made, or one in the tests' cache.
fn python() -> Result<PathBuf, String> {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.lifeboat/tools/python/bin/python");
    if run(Command::new(&made).args(["-c", "import azure.storage.blob"])).is_ok() {
        return Ok(made);
    }
    let folder = install_once("python-azure-storage-blob", &|folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", SDK]);
        run(&mut pip).map(drop)
    })?;
    Ok(folder.join("bin/python"))
}

#[test]
fn the_official_sdk_reads_back_what_the_store_wrote() {
    let python = match python() {
        Ok(python) => python,
        Err(error) => {
            eprintln!("SKIPPED: Microsoft's SDK cannot be installed here: {error}");
            return;
        }
    };
    let azurite = Azurite::start().expect("Azurite starts");
    let address = AzureAddress::parse(&azurite.vault("oracle")).expect("an address");
    let open = |options: AzureOptions| {
        let key = Credentials::shared_key(ACCOUNT, &Secret::new(KEY)).expect("a key");
        AzureStore::open(&address, key, options).expect("a store")
    };
    let store = open(AzureOptions::default());
    store.prepare().expect("a container");
    let mut blocks = AzureOptions::default();
    (blocks.single_put_bytes_max, blocks.block_bytes) = (1000, 70_000);
    blocks.tier = Some(AccessTier::Cool);
    let in_blocks = open(blocks);
    let body = |length: u32| (0..length).flat_map(|n| n.wrapping_mul(2_654_435_769).to_be_bytes());
    let objects: Vec<(&str, Vec<u8>)> = vec![
        ("chain/0f/ffff", b"manifest".to_vec()),
        ("empty", Vec::new()),
        ("seg/00/whole", body(500_000).collect()),
        ("seg/01/in-blocks_1.x", body(250_001).collect()),
    ];
    for (name, bytes) in &objects {
        let store = if name.contains("blocks") { &in_blocks } else { &store };
        assert_eq!(store.create(name, bytes), Ok(Created::New), "{name}");
    }
    let folder = Scratch::new("sdk").expect("a folder");
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT, &azurite.endpoint(), KEY, "oracle"]);
    command.arg(folder.path()).arg(API_VERSION);
    let printed = run(&mut command).expect("the SDK is content");
    let seen: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    let seen = seen.as_array().expect("a list");
    assert_eq!(seen.len(), objects.len());
    let listed = list_all(&store, "").expect("a listing");
    for (number, (name, bytes)) in objects.iter().enumerate() {
        let entry = &seen[number];
        assert_eq!(entry["name"], *name, "the SDK lists in the same order");
        assert_eq!(entry["type"], "BlockBlob", "{name}");
        let tier = if name.contains("blocks") { "Cool" } else { "Hot" };
        assert_eq!(entry["tier"], tier, "{name}");
        let fetched = std::fs::read(folder.path().join(number.to_string())).expect("fetched");
        assert!(fetched == *bytes, "{name} came back changed");
        let ours = listed.iter().find(|facts| facts.name == *name).expect("listed by us too");
        assert_eq!(entry["modified"].as_u64(), Some(ours.modified / 1000), "{name}");
    }
    assert_eq!(store.read_all("theirs/object", 100), Ok(b"written by the SDK".to_vec()));
    assert_eq!(store.create("theirs/object", b"written by the SDK"), Ok(Created::Same));
}
