//! The control plane as a state machine, held against what Azure documents: without storage, machines or time.

use serde_json::{Value, json};

use super::faults::{Fault, Rule};
use super::{Body, Deed, Outcome, Refusal, Region, Request, Response, Settings};

/// What Azure refuses when machines are made.
mod machines;
/// Addresses, subnets and what hangs on them.
mod networks;

const SUBSCRIPTION: &str = "/subscriptions/s1";
const GROUP: &str = "/subscriptions/s1/resourceGroups/rg1";
const MIB: u64 = 1 << 20;

/// A region, and the time in it.
struct World {
    region: Region,
    now_ms: u64,
}

impl World {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let mut world = Self { region: Region::new(settings), now_ms: 1_700_000_000_000 };
        let made = world.put(GROUP, &json!({ "location": "westeurope", "tags": {} }));
        assert_eq!(made.status, 201);
        world
    }

    fn ask(&mut self, method: &str, path: &str, body: Option<&Value>) -> Response {
        let joint = if path.contains('?') { '&' } else { '?' };
        let mut request = Request::new(method, &format!("{path}{joint}api-version=2024-07-01"))
            .with("authorization", "Bearer any")
            .with("host", "region.test");
        if let Some(body) = body {
            request = request.json(body);
        }
        self.region.answer(&request, self.now_ms)
    }

    fn put(&mut self, path: &str, body: &Value) -> Response {
        self.ask("PUT", path, Some(body))
    }

    fn get(&mut self, path: &str) -> Value {
        let response = self.ask("GET", path, None);
        assert_eq!(response.status, 200, "{path}: {}", response.value());
        response.value()
    }

    /// A PUT that must be refused; gives status and code.
    fn refused(&mut self, path: &str, body: &Value) -> (u16, String) {
        let response = self.put(path, body);
        assert!(response.status >= 400, "{path} was taken: {}", response.value());
        (response.status, response.value()["error"]["code"].as_str().unwrap().to_owned())
    }

    fn disk(&mut self, name: &str, generation: &str) -> String {
        let path = format!("{GROUP}/providers/Microsoft.Compute/disks/{name}");
        let made = self.put(&path, &upload(generation, 20 * MIB + 512));
        assert_eq!(made.status, 202, "{}", made.value());
        path
    }

    fn uploaded(&mut self, name: &str, generation: &str) -> String {
        let path = self.disk(name, generation);
        let asked = json!({ "access": "Write", "durationInSeconds": 3600 });
        assert_eq!(self.ask("POST", &format!("{path}/beginGetAccess"), Some(&asked)).status, 202);
        assert_eq!(self.ask("POST", &format!("{path}/endGetAccess"), None).status, 202);
        path
    }

    fn network(&mut self) -> String {
        let path = format!("{GROUP}/providers/Microsoft.Network/virtualNetworks/vn1");
        let subnet = json!({ "name": "s1", "properties": { "addressPrefix": "10.9.1.0/29" } });
        let body = json!({
            "location": "westeurope",
            "properties": { "addressSpace": { "addressPrefixes": ["10.9.0.0/16"] }, "subnets": [subnet] },
        });
        assert_eq!(self.put(&path, &body).status, 201);
        format!("{path}/subnets/s1")
    }

    fn interface(&mut self, name: &str, subnet: &str, address: Option<&str>) -> Response {
        let path = format!("{GROUP}/providers/Microsoft.Network/networkInterfaces/{name}");
        self.put(&path, &interface(subnet, address))
    }

    fn machine_with(&mut self, name: &str, disk: &str, interface: &str) -> Response {
        let path = format!("{GROUP}/providers/Microsoft.Compute/virtualMachines/{name}");
        self.put(&path, &machine(disk, interface))
    }
}

fn upload(generation: &str, bytes: u64) -> Value {
    json!({
        "location": "westeurope", "sku": { "name": "Premium_LRS" }, "tags": { "order": "7" },
        "properties": {
            "osType": "Linux", "hyperVGeneration": generation,
            "creationData": { "createOption": "Upload", "uploadSizeBytes": bytes },
        },
    })
}

fn interface(subnet: &str, address: Option<&str>) -> Value {
    let mut inner = json!({ "subnet": { "id": subnet }, "privateIPAllocationMethod": "Dynamic" });
    if let Some(address) = address {
        inner["privateIPAllocationMethod"] = json!("Static");
        inner["privateIPAddress"] = json!(address);
    }
    json!({
        "location": "westeurope",
        "properties": { "ipConfigurations": [{ "name": "a", "properties": inner }] },
    })
}

fn machine(disk: &str, interface: &str) -> Value {
    json!({
        "location": "westeurope", "tags": { "order": "7" },
        "properties": {
            "hardwareProfile": { "vmSize": "Standard_D2s_v5" },
            "storageProfile": {
                "osDisk": { "createOption": "Attach", "osType": "Linux", "managedDisk": { "id": disk } },
            },
            "networkProfile": { "networkInterfaces": [{ "id": interface }] },
            "diagnosticsProfile": { "bootDiagnostics": { "enabled": true } },
        },
    })
}

fn state_of(shown: &Value) -> &str {
    shown["properties"]["diskState"].as_str().unwrap_or_default()
}

#[test]
fn a_disk_is_uploaded_into_and_cannot_be_used_before_that_is_ended() {
    let mut world = World::new();
    let path = world.disk("os", "V2");
    assert_eq!(state_of(&world.get(&path)), "ReadyToUpload");
    let asked = json!({ "access": "Write", "durationInSeconds": 3600 });
    let granted = world.ask("POST", &format!("{path}/beginGetAccess"), Some(&asked));
    let at = granted.header("Location").unwrap().to_owned();
    let at = at.strip_prefix("http://region.test").expect("an absolute URL of this host");
    let result = world.ask("GET", at, None);
    assert!(result.value()["accessSAS"].is_string(), "{}", result.value());
    assert_eq!(state_of(&world.get(&path)), "ActiveUpload");
    let refused = world.ask("DELETE", &path, None);
    assert_eq!(refused.status, 409);
    assert!(refused.value()["error"]["message"].as_str().unwrap().contains("EndGetAccess"));
    world.ask("POST", &format!("{path}/endGetAccess"), None);
    assert_eq!(state_of(&world.get(&path)), "Unattached");
    let again = world.ask("POST", &format!("{path}/beginGetAccess"), Some(&asked));
    assert_eq!(again.status, 409, "nothing is uploaded into a finished disk");
    assert_eq!(world.ask("DELETE", &path, None).status, 202);
    assert_eq!(world.ask("GET", &path, None).status, 404);
    assert_eq!(world.ask("DELETE", &path, None).status, 204, "what is gone is gone");
}

#[test]
fn an_upload_of_another_size_than_disks_have_is_refused() {
    let mut world = World::new();
    let path = format!("{GROUP}/providers/Microsoft.Compute/disks/os");
    for bytes in
        [20 * MIB, 20 * MIB + 511, 19 * MIB + 512, 20 * MIB + 1024, (32_768 << 30) + 512, 0]
    {
        let refused = world.refused(&path, &upload("V2", bytes));
        assert_eq!(refused, (400, "InvalidParameter".to_owned()), "{bytes}");
    }
    assert_eq!(world.put(&path, &upload("V2", (32_767 << 30) + 512)).status, 202);
    let changed = world.refused(&path, &upload("V2", 20 * MIB + 512));
    assert_eq!(changed, (409, "PropertyChangeNotAllowed".to_owned()));
    assert_eq!(world.put(&path, &upload("V2", (32_767 << 30) + 512)).status, 202, "the same again");
}

#[test]
fn every_way_to_follow_an_operation_tells_its_end() {
    let settings = Settings { operation_ms: 500, retry_after_s: 3, ..Settings::default() };
    let mut world = World::with(settings);
    let disk = format!("{GROUP}/providers/Microsoft.Compute/disks/os");
    let begun = world.put(&disk, &upload("V2", 20 * MIB + 512));
    assert_eq!(begun.header("Retry-After"), Some("3"));
    assert_eq!(begun.value()["properties"]["provisioningState"], "Creating");
    let path = |response: &Response, name: &str| {
        let at = response.header(name).unwrap().to_owned();
        at.strip_prefix("http://region.test")
            .unwrap()
            .split("api-version")
            .next()
            .unwrap()
            .to_owned()
    };
    let status = path(&begun, "Azure-AsyncOperation");
    let location = path(&begun, "Location");
    assert_eq!(world.get(&status)["status"], "InProgress");
    assert_eq!(world.ask("GET", &location, None).status, 202);
    let busy = world.put(&disk, &upload("V2", 20 * MIB + 512));
    assert_eq!(busy.value()["error"]["code"], "AnotherOperationInProgress");
    world.now_ms += 500;
    assert_eq!(world.get(&status)["status"], "Succeeded");
    assert_eq!(world.get(&location)["properties"]["provisioningState"], "Succeeded");
    // The rules of a security group are followed by the resource alone.
    let rules = format!("{GROUP}/providers/Microsoft.Network/networkSecurityGroups/g");
    let begun = world.put(&rules, &json!({ "location": "westeurope", "properties": {} }));
    assert_eq!((begun.header("Azure-AsyncOperation"), begun.header("Location")), (None, None));
    assert_eq!(begun.value()["properties"]["provisioningState"], "Creating");
    world.now_ms += 500;
    assert_eq!(world.get(&rules)["properties"]["provisioningState"], "Succeeded");
    // A group's removal by its location alone.
    let gone = world.ask("DELETE", GROUP, None);
    assert!(gone.header("Azure-AsyncOperation").is_none());
    let location = path(&gone, "Location");
    assert_eq!(world.ask("GET", &location, None).status, 202);
    assert_eq!(
        world.refused(GROUP, &json!({ "location": "westeurope" })).1,
        "ResourceGroupBeingDeleted"
    );
    world.now_ms += 500;
    assert_eq!(world.ask("GET", &location, None).status, 200);
    assert_eq!(world.ask("HEAD", GROUP, None).status, 404);
    assert_eq!(world.region.resources(), json!([]), "with all that was in it");
}

#[test]
fn what_the_world_must_do_is_waited_for_and_its_failure_told() {
    let account =
        super::Account { name: "a".into(), key: "a2V5".into(), endpoint: "http://x/a".into() };
    let mut world = World::with(Settings { storage: Some(account), ..Settings::default() });
    let path = world.disk("os", "V2");
    let deeds = world.region.take_deeds();
    let [(ticket, Deed::MakeDisk { bytes, .. })] = deeds.as_slice() else { panic!("{deeds:?}") };
    assert_eq!(*bytes, 20 * MIB);
    assert_eq!(world.get(&path)["properties"]["provisioningState"], "Creating");
    world.region.did(*ticket, Ok(Outcome::Done), world.now_ms);
    assert_eq!(state_of(&world.get(&path)), "ReadyToUpload");
    let import = format!("{GROUP}/providers/Microsoft.Compute/disks/imported");
    let asked = json!({
        "location": "westeurope",
        "properties": { "creationData": { "createOption": "Import", "sourceUri": "http://x/a/b.vhd" } },
    });
    let begun = world.put(&import, &asked);
    let status = begun.header("Azure-AsyncOperation").unwrap().replace("http://region.test", "");
    let status = status.split("api-version").next().unwrap().to_owned();
    let (ticket, _) = world.region.take_deeds().remove(0);
    let wrong = Refusal::new(400, "InvalidVhd", "no footer");
    world.region.did(ticket, Err(wrong), world.now_ms);
    let told = world.get(&status);
    assert_eq!(
        (told["status"].as_str(), told["error"]["code"].as_str()),
        (Some("Failed"), Some("InvalidVhd"))
    );
    assert_eq!(world.get(&import)["properties"]["provisioningState"], "Failed");
    assert_eq!(world.ask("DELETE", &import, None).status, 202);
    assert!(matches!(world.region.take_deeds().as_slice(), [(_, Deed::RemoveDisk { .. })]));
}

#[test]
fn a_snapshot_is_a_disk_again() {
    let mut world = World::new();
    let disk = world.uploaded("os", "V2");
    let copy = |of: &str| {
        json!({
            "location": "westeurope",
            "properties": { "incremental": true, "creationData": { "createOption": "Copy", "sourceResourceId": of } },
        })
    };
    let snapshot = format!("{GROUP}/providers/Microsoft.Compute/snapshots/snap");
    assert_eq!(world.put(&snapshot, &copy(&disk)).status, 202);
    let read = json!({ "access": "Read", "durationInSeconds": 60 });
    assert_eq!(world.ask("POST", &format!("{snapshot}/beginGetAccess"), Some(&read)).status, 202);
    assert_eq!(state_of(&world.get(&snapshot)), "ActiveSAS");
    world.ask("POST", &format!("{snapshot}/endGetAccess"), None);
    let again = format!("{GROUP}/providers/Microsoft.Compute/disks/again");
    assert_eq!(world.put(&again, &copy(&snapshot)).status, 202);
    assert_eq!(world.get(&again)["properties"]["hyperVGeneration"], "V2");
    let nowhere = world.refused(&format!("{again}2"), &copy("/subscriptions/s1/x"));
    assert_eq!(nowhere, (404, "NotFound".to_owned()));
    let half = world.disk("half", "V1");
    assert_eq!(world.refused(&format!("{again}2"), &copy(&half)).0, 409, "not of an upload");
}

#[test]
fn tags_find_what_an_order_made_page_by_page() {
    let mut world = World::with(Settings { page: 2, ..Settings::default() });
    for number in 0..5 {
        world.disk(&format!("d{number}"), "V2");
    }
    let rules = format!("{GROUP}/providers/Microsoft.Network/networkSecurityGroups/g");
    world.put(&rules, &json!({ "location": "westeurope", "properties": {} }));
    let filter = "$filter=tagName%20eq%20'order'%20and%20tagValue%20eq%20'7'";
    let mut at = format!("{GROUP}/resources?{filter}");
    let mut names = Vec::new();
    loop {
        let page = world.get(&at);
        names.extend(page["value"].as_array().unwrap().iter().map(|one| one["name"].clone()));
        let Some(next) = page["nextLink"].as_str() else { break };
        at = next.replace("http://region.test", "").replace("api-version=2024-07-01&", "");
    }
    assert_eq!(names, ["d0", "d1", "d2", "d3", "d4"]);
    let others = world.get(&format!("{SUBSCRIPTION}/resources?$filter=tagName eq 'other'"));
    assert_eq!(others["value"], json!([]));
    let disks = world.get(&format!("{SUBSCRIPTION}/providers/Microsoft.Compute/disks"));
    assert_eq!(disks["value"].as_array().unwrap().len(), 2, "a page");
    assert_eq!(world.ask("GET", &format!("{GROUP}/resources?$filter=x"), None).status, 400);
}

#[test]
fn faults_meet_whom_the_rules_say_as_often_as_they_say() {
    let mut world = World::new();
    let path = format!("{GROUP}/providers/Microsoft.Compute/disks/os");
    let body = upload("V2", 20 * MIB + 512);
    let mut later = Rule::new("PUT", "/DISKS/", 1, Fault::throttled(7));
    later.skip = 1;
    world.region.set_faults(vec![later, Rule::new("PUT", "", 1, Fault::no_room())]);
    let begun = world.put(&path, &body);
    assert_eq!(begun.status, 202, "said yes");
    assert_eq!(world.get(&path)["properties"]["provisioningState"], "Failed", "and failed later");
    world.ask("DELETE", &path, None);
    let throttled = world.put(&path, &body);
    assert_eq!((throttled.status, throttled.header("Retry-After")), (429, Some("7")));
    assert_eq!(world.put(&path, &body).status, 202);
    world.region.set_faults(vec![Rule::new("DELETE", "", 1, Fault::LoseReply)]);
    assert!(world.ask("DELETE", &path, None).lost);
    assert_eq!(world.ask("GET", &path, None).status, 404, "it was done all the same");
    world.region.set_faults(vec![Rule::deny("Microsoft.Compute/disks/*")]);
    assert_eq!(world.refused(&path, &body), (403, "AuthorizationFailed".to_owned()));
    let role = world.get(&format!("{GROUP}/providers/Microsoft.Authorization/permissions"));
    assert_eq!(role["value"][0]["notActions"], json!(["Microsoft.Compute/disks/*"]));
    let rules = json!([{ "refuse": { "status": 503 }, "per_mille": 500 }]);
    let set = Request::new("PUT", "/stand-in/faults").json(&rules);
    assert_eq!(world.region.answer(&set, 0).status, 204);
    let failed = (0..200).filter(|_| world.ask("GET", GROUP, None).status == 503).count();
    assert!((60..140).contains(&failed), "half of 200 with seed 1: {failed}");
    let wrong = Request::new("PUT", "/stand-in/faults").json(&json!([{ "refuze": 1 }]));
    assert_eq!(world.region.answer(&wrong, 0).status, 400);
}

#[test]
fn a_token_is_given_for_the_right_secret_and_taken_until_it_ends() {
    let application =
        super::Application { tenant: "t".into(), client: "c".into(), secret: "a b+c".into() };
    let mut region =
        Region::new(Settings { applications: vec![application], ..Settings::default() });
    let login = |region: &mut Region, form: &str| {
        let mut request = Request::new("POST", "/t/oauth2/v2.0/token");
        request.body = form.as_bytes().to_vec();
        region.answer(&request, 1000)
    };
    let form = |secret: &str, audience: &str| {
        format!(
            "grant_type=client_credentials&client_id=c&client_secret={secret}&scope={audience}%2F.default"
        )
    };
    let control = "https%3A%2F%2Fmanagement.azure.com";
    assert_eq!(login(&mut region, &form("wrong", control)).status, 401);
    let token = |given: &Response| given.value()["access_token"].as_str().unwrap().to_owned();
    let good = token(&login(&mut region, &form("a+b%2Bc", control)));
    let other = token(&login(&mut region, &form("a+b%2Bc", "https%3A%2F%2Fstorage.azure.com")));
    let ask = |region: &mut Region, token: &str, now_ms: u64| {
        let request = Request::new("GET", "/subscriptions/s1?api-version=1");
        let request = request.with("authorization", &format!("Bearer {token}"));
        region.answer(&request, now_ms).status
    };
    assert_eq!(ask(&mut region, &good, 2000), 200);
    assert_eq!(ask(&mut region, &good, 1000 + 3_600_000), 401, "it has ended");
    assert_eq!(ask(&mut region, &other, 2000), 401, "it is for the storage");
    assert_eq!(ask(&mut region, "made-up", 2000), 401);
}

#[test]
fn hostile_requests_are_answered() {
    let mut world = World::new();
    let long = "x".repeat(300);
    for path in [
        "/",
        "",
        "//",
        "/subscriptions",
        "/subscriptions/s1/resourceGroups",
        "/stand-in/",
        "/stand-in/forward",
        "/subscriptions/s1/resourceGroups/rg1/providers",
        "/subscriptions/s1/providers/a/b/c/d/e",
        "/subscriptions/s1/providers/Microsoft.Compute/locations/x/operations/",
        "/subscriptions/s1/resourceGroups/rg1/providers/Microsoft.Compute/disks/%00",
        "/subscriptions/s1/resourceGroups/rg1/providers/Microsoft.Network/virtualNetworks/v/subnets/",
        "/%ff%fe/oauth2/v2.0/token",
        long.as_str(),
    ] {
        for method in ["GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "BREW"] {
            for body in
                [&b""[..], b"{", b"[]", b"{\"location\":7,\"properties\":[]}", b"null", b"\xff"]
            {
                let mut request =
                    Request::new(method, &format!("{path}?api-version=1&$filter=%&x"));
                request.body = body.to_vec();
                let request = request.with("authorization", "Bearer x");
                let response = world.region.answer(&request, u64::MAX);
                assert!(response.status >= 200, "{method} {path}");
                assert!(matches!(response.body, Body::Bytes(_)));
            }
        }
    }
}
