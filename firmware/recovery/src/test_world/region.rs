//! A region in memory: it keeps resources by their paths, is as strict as Azure about what holds what, takes its time, and can be
//! cut off, refuse and fail late.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Mutex;

use hal::time::Clock;
use hal_sim::clock::SimClock;
use pipeline_azure::Secret;
use pipeline_azure::arm::{Answer, Call, Follows, Operation, Progress, Refused, Why};
use pipeline_azure::request::Method;
use serde_json::{Value, json};

use super::seeds::Seeds;
use crate::region::Region;

/// What happens to a call that is told apart by a piece of «METHOD path».
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) at: String,
    pub(crate) why: Why,
    /// Azure says yes first, and fails later.
    pub(crate) late: bool,
    /// It is done all the same, and only the answer is lost.
    pub(crate) done: bool,
    pub(crate) times: u32,
}

#[derive(Default)]
struct State {
    resources: BTreeMap<String, Value>,
    /// Content of disks, by path.
    contents: BTreeMap<String, String>,
    operations: BTreeMap<String, Under>,
    troubles: Vec<Trouble>,
    calls: u64,
    cut_at: Option<(u64, bool)>,
    next: u64,
    log: Vec<String>,
    /// What is gone and still in lists, as those of Azure are late.
    lingers: BTreeMap<String, Value>,
    lists_late: bool,
    /// A call that is refused until then, in seconds.
    kept_back: Option<(String, u64)>,
    /// What is made never ends where its path has this.
    endless: Option<String>,
    seeds: Seeds,
}

/// An operation: so many calls until it ends so, or how it ended.
#[derive(Clone, Debug)]
enum Under {
    Way(u32, End),
    Over(Result<Progress, Refused>),
}

#[derive(Clone, Debug)]
enum End {
    Stands(String),
    Fails(String, Why),
    Gone(String),
    Answer(Value),
}

/// The region.
pub(crate) struct SimRegion {
    clock: SimClock,
    state: Mutex<State>,
}

fn refused(why: Why, act: &str) -> Refused {
    let words = format!("is refused: {why:?}");
    Refused { why, code: format!("{why:?}"), act: act.to_owned(), words, retry_after: None }
}

impl SimRegion {
    pub(crate) fn new(clock: SimClock, seeds: Seeds) -> Self {
        let mut state = State { seeds, ..State::default() };
        let base = format!("/subscriptions/{}/resourcegroups/recovered", super::SUBSCRIPTION);
        state.resources.insert(base.clone(), json!({"id": base, "properties": {}}));
        let network = format!("{base}/providers/microsoft.network/virtualnetworks/net");
        let subnet = json!({"name": "default", "properties": {"addressPrefix": "10.0.0.0/24"}});
        state.resources.insert(
            network.clone(),
            json!({"id": network, "properties": {"provisioningState": "Succeeded", "subnets": [subnet]}}),
        );
        Self { clock, state: Mutex::new(state) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics")
    }

    pub(crate) fn calls(&self) -> u64 {
        self.state().calls
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.state().log.clone()
    }

    /// From so many more calls on nothing comes through any more; the last may be done without its answer.
    pub(crate) fn cut(&self, calls: Option<u64>, does_last: bool) {
        let mut state = self.state();
        state.cut_at = calls.map(|calls| (state.calls + calls, does_last));
    }

    pub(crate) fn trouble(&self, trouble: Trouble) {
        self.state().troubles.push(trouble);
    }

    /// For so long a call is refused as it is when Azure keeps an interface for a machine that failed.
    pub(crate) fn keeps_back(&self, at: &str, time: Duration) {
        let until = self.clock.monotonic_nanos() / 1_000_000_000 + time.as_secs();
        self.state().kept_back = Some((at.to_lowercase(), until));
    }

    /// From now on the making of what is called so does not end, until it does.
    pub(crate) fn never_ends(&self, at: Option<&str>) {
        let mut state = self.state();
        state.endless = at.map(str::to_lowercase);
        if at.is_none() {
            let all = state.operations.values_mut();
            all.for_each(|under| {
                if let Under::Way(left, _) = under {
                    *left = 1;
                }
            });
        }
    }

    /// From now on lists have what is gone, too.
    pub(crate) fn lists_late(&self) {
        self.state().lists_late = true;
    }

    pub(crate) fn put(&self, path: &str, value: Value) {
        self.state().resources.insert(path.to_lowercase(), value);
    }

    /// Whatever is there beside what was there from the beginning.
    pub(crate) fn things(&self) -> Vec<String> {
        let state = self.state();
        let ours = state.resources.iter().filter(|(_, value)| value.get("tags").is_some());
        ours.map(|(path, _)| path.clone()).collect()
    }

    /// What is kept of the one thing whose path has this.
    pub(crate) fn thing(&self, piece: &str) -> Value {
        let state = self.state();
        let mut found = state.resources.iter().filter(|(path, _)| path.contains(piece));
        let (_, thing) = found.next().unwrap_or_else(|| panic!("no {piece}"));
        thing.clone()
    }

    /// The content of every disk that a machine has, by the machine.
    pub(crate) fn running(&self) -> Vec<(String, Vec<String>)> {
        let state = self.state();
        let machines =
            state.resources.iter().filter(|(path, _)| path.contains("/virtualmachines/"));
        machines
            .map(|(path, value)| {
                let disks = disks_of(value).into_iter();
                let content = |disk: String| state.contents.get(&disk).cloned().unwrap_or_default();
                (path.clone(), disks.map(content).collect())
            })
            .collect()
    }

    /// Bytes for a disk, by the signature that was given for it.
    pub(crate) fn upload(&self, signature: &str, content: &str) -> bool {
        let mut state = self.state();
        let Some(path) = signature.strip_prefix("sas:") else { return false };
        let open = state.resources.get(path).is_some_and(|disk| {
            disk.pointer("/properties/diskState").and_then(Value::as_str) == Some("ActiveUpload")
        });
        if open {
            state.contents.insert(path.to_owned(), content.to_owned());
        }
        open
    }

    fn count(&self) -> Result<bool, Refused> {
        let mut state = self.state();
        state.calls += 1;
        match state.cut_at {
            Some((at, does_last)) if state.calls == at && does_last => Ok(false),
            Some((at, _)) if state.calls >= at => Err(refused(Why::Way, "reaching Azure")),
            _ => Ok(true),
        }
    }
}

/// The blob that a disk is made of.
fn source_of(disk: &Value) -> Option<String> {
    Some(disk.pointer("/properties/creationData/sourceUri")?.as_str()?.to_owned())
}

fn disks_of(machine: &Value) -> Vec<String> {
    let profile = &machine["properties"]["storageProfile"];
    let data = profile["dataDisks"].as_array().cloned().unwrap_or_default();
    let disks = core::iter::once(profile["osDisk"].clone()).chain(data);
    disks.filter_map(|disk| Some(disk["managedDisk"]["id"].as_str()?.to_lowercase())).collect()
}

impl Region for SimRegion {
    fn call(&self, call: &Call) -> Result<Answer, Refused> {
        let answered = self.count()?;
        let mut state = self.state();
        let key = format!("{} {}", call.method.name(), call.path.to_lowercase());
        state.tick();
        let lower = key.to_lowercase();
        let now = self.clock.monotonic_nanos() / 1_000_000_000;
        if let Some((at, until)) = &state.kept_back
            && lower.contains(at)
            && now < *until
        {
            let retry_after = Some(Duration::from_secs(180));
            return Err(Refused { retry_after, ..refused(Why::Conflict, &call.act) });
        }
        let hit =
            state.troubles.iter().position(|trouble| lower.contains(&trouble.at.to_lowercase()));
        let trouble = hit.map(|at| {
            let trouble = state.troubles[at].clone();
            state.troubles[at].times -= 1;
            if state.troubles[at].times == 0 {
                state.troubles.remove(at);
            }
            trouble
        });
        let late = trouble.as_ref().filter(|trouble| trouble.late).map(|trouble| trouble.why);
        if let Some(trouble) = &trouble
            && !trouble.late
            && !trouble.done
        {
            return Err(refused(trouble.why, &call.act));
        }
        if call.method != Method::Get {
            state.log.push(key);
        }
        let answer = state.answer(call, late);
        match trouble {
            Some(trouble) if trouble.done => Err(refused(trouble.why, &call.act)),
            _ if !answered => Err(refused(Why::Way, &call.act)),
            _ => answer,
        }
    }

    fn look(&self, operation: &Operation) -> Result<Progress, Refused> {
        let answered = self.count()?;
        let mut state = self.state();
        state.tick();
        let result = match state.operations.get(&operation.address) {
            None => return Err(refused(Why::Missing, "looking at an operation")),
            Some(Under::Way(..)) => return Ok(Progress::Running(Duration::from_secs(1))),
            Some(Under::Over(result)) => result.clone(),
        };
        if answered { result } else { Err(refused(Why::Way, "looking at an operation")) }
    }

    fn read(&self, address: &Secret, bytes_max: u64) -> Result<Vec<u8>, Refused> {
        self.count()?;
        assert!(bytes_max > 0);
        match address.expose() {
            "log:" => Ok(b"booting\nweb1 login: \n".to_vec()),
            "quiet:" => Ok(b"booting\n".to_vec()),
            _ => Ok(b"\x89PNG\r\n picture".to_vec()),
        }
    }

    fn pause(&self, time: Duration) {
        self.clock.advance(u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1));
    }
}

impl State {
    /// Time passes with every call, whether or not anybody looks at an operation.
    fn tick(&mut self) {
        let mut ends = Vec::new();
        for (address, under) in &mut self.operations {
            if let Under::Way(left, end) = under {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    ends.push((address.clone(), end.clone()));
                }
            }
        }
        for (address, end) in ends {
            let result = self.end(end);
            self.operations.insert(address, Under::Over(result));
        }
    }

    fn end(&mut self, end: End) -> Result<Progress, Refused> {
        match end {
            End::Answer(value) => Ok(Progress::Done(value)),
            End::Gone(path) => {
                if let Some(gone) = self.resources.get(&path).filter(|_| self.lists_late) {
                    self.lingers.insert(path.clone(), gone.clone());
                }
                self.resources
                    .retain(|known, _| *known != path && !known.starts_with(&format!("{path}/")));
                Ok(Progress::Done(Value::Null))
            }
            End::Stands(path) => match self.resources.get_mut(&path) {
                Some(value) => {
                    if let Some(uri) = source_of(value) {
                        let content = self.seeds.end(&uri).unwrap_or_default();
                        self.contents.entry(path).or_insert(content);
                    }
                    value["properties"]["provisioningState"] = json!("Succeeded");
                    Ok(Progress::Done(value.clone()))
                }
                None => Err(refused(Why::Missing, "looking at an operation")),
            },
            End::Fails(path, why) => {
                if let Some(value) = self.resources.get_mut(&path) {
                    source_of(value).map(|uri| self.seeds.end(&uri));
                    value["properties"]["provisioningState"] = json!("Failed");
                }
                Ok(Progress::Failed(refused(why, &format!("making {path}"))))
            }
        }
    }

    fn begin(&mut self, looks: u32, end: End) -> Answer {
        self.next += 1;
        let address = format!("op-{}", self.next);
        self.operations.insert(address.clone(), Under::Way(looks, end));
        Answer::Begun(Operation {
            address,
            follows: Follows::Status,
            result: None,
            retry_after_s: 1,
        })
    }

    fn answer(&mut self, call: &Call, late: Option<Why>) -> Result<Answer, Refused> {
        let path = call.path.to_lowercase();
        match call.method {
            Method::Get => self.get(call, &path),
            Method::Put => Ok(self.create(call, path, late)),
            Method::Delete => {
                if !self.resources.contains_key(&path) {
                    return Ok(Answer::Done(Value::Null));
                }
                if let Some(holder) = self.holder_of(&path) {
                    return Err(refused(
                        Why::Conflict,
                        &format!("{}: {holder} holds it", call.act),
                    ));
                }
                Ok(self.begin(2, End::Gone(path)))
            }
            _ => self.post(call, &path),
        }
    }

    fn create(&mut self, call: &Call, path: String, late: Option<Why>) -> Answer {
        let mut value = call.body.clone().unwrap_or_default();
        value["id"] = json!(call.path);
        let group = !path.contains("/providers/");
        if path.contains("/disks/") {
            // A second PUT of what is there changes nothing of its state.
            let before =
                self.resources.get(&path).map(|disk| disk["properties"]["diskState"].clone());
            let first = match source_of(&value) {
                Some(uri) => {
                    self.seeds.begin(&uri);
                    self.contents.remove(&path);
                    "Unattached"
                }
                None => "ReadyToUpload",
            };
            value["properties"]["diskState"] = before.unwrap_or_else(|| json!(first));
        }
        if path.contains("/networkinterfaces/") {
            let inside = &mut value["properties"]["ipConfigurations"][0]["properties"];
            if inside["privateIPAddress"].is_null() {
                inside["privateIPAddress"] = json!("10.0.0.4");
            }
        }
        if group {
            value["properties"] = json!({"provisioningState": "Succeeded"});
            self.resources.insert(path, value.clone());
            return Answer::Done(value);
        }
        value["properties"]["provisioningState"] = json!("Creating");
        self.resources.insert(path.clone(), value);
        let endless = self.endless.as_ref().is_some_and(|at| path.contains(at));
        let end = match late {
            Some(why) => End::Fails(path, why),
            None => End::Stands(path),
        };
        self.begin(if endless { u32::MAX } else { 2 }, end)
    }

    /// Who keeps a thing from being taken away.
    fn holder_of(&self, path: &str) -> Option<String> {
        if self.resources[path]["properties"]["diskState"] == "ActiveUpload" {
            return Some("a signature".to_owned());
        }
        let inside = format!("{path}/");
        let open = |(known, value): &(&String, &Value)| {
            known.starts_with(&inside) && value["properties"]["diskState"] == "ActiveUpload"
        };
        if let Some((known, _)) = self.resources.iter().find(open) {
            return Some(known.clone());
        }
        let names = |(known, value): &(&String, &Value)| {
            let text = value.to_string().to_lowercase();
            known.as_str() != path
                && !known.starts_with(&inside)
                && (text.contains(&format!("\"{path}\"")) || text.contains(&format!("\"{path}/")))
        };
        self.resources.iter().find(names).map(|(known, _)| known.clone())
    }

    fn get(&self, call: &Call, path: &str) -> Result<Answer, Refused> {
        let missing = || refused(Why::Missing, &call.act);
        let query =
            |name: &str| call.query.iter().find(|(known, _)| *known == name).map(|(_, text)| text);
        if path.ends_with("/resourcegroups") || path.ends_with("/resources") {
            let base = path.strip_suffix("/resources").unwrap_or(path);
            let groups = path.ends_with("/resourcegroups");
            let filter = query("$filter").cloned().unwrap_or_default();
            let parts: Vec<&str> = filter.split('\'').collect();
            let fits = |(known, value): &(&String, &Value)| {
                known.starts_with(&format!("{base}/"))
                    && known.contains("/providers/") != groups
                    && value["tags"][parts[1]] == parts[3]
            };
            let all = self.resources.iter().chain(&self.lingers);
            let found: Vec<&Value> = all.filter(fits).map(|(_, value)| value).collect();
            return Ok(Answer::Done(json!({"value": found})));
        }
        if path.ends_with("/skus") {
            return Ok(Answer::Done(sizes()));
        }
        if path.ends_with("/usages") {
            let usage = json!({"name": {"value": "cores"}, "currentValue": 0, "limit": 100});
            return Ok(Answer::Done(json!({"value": [usage]})));
        }
        if path.ends_with("/permissions") {
            return Ok(Answer::Done(json!({"value": [{"actions": ["*"], "notActions": []}]})));
        }
        if path.ends_with("/checkipaddressavailability") {
            let free = query("ipAddress").is_some_and(|address| address != "10.0.0.99");
            return Ok(Answer::Done(
                json!({"available": free, "availableIPAddresses": ["10.0.0.7"]}),
            ));
        }
        if let Some(machine) = path.strip_suffix("/instanceview") {
            self.resources.get(machine).ok_or_else(missing)?;
            return Ok(Answer::Done(json!({"statuses": [{"code": "PowerState/running"}]})));
        }
        if let Some((network, name)) = path.split_once("/subnets/") {
            let network = self.resources.get(network).ok_or_else(missing)?;
            let subnets = network["properties"]["subnets"].as_array().cloned().unwrap_or_default();
            let found = subnets.into_iter().find(|subnet| subnet["name"] == name);
            return found.map(Answer::Done).ok_or_else(missing);
        }
        self.resources.get(path).cloned().map(Answer::Done).ok_or_else(missing)
    }

    fn post(&mut self, call: &Call, path: &str) -> Result<Answer, Refused> {
        let missing = || refused(Why::Missing, &call.act);
        let (thing, act) = path.rsplit_once('/').expect("a path");
        let value = self.resources.get_mut(thing).ok_or_else(missing)?;
        match act {
            "begingetaccess" => {
                let state = &mut value["properties"]["diskState"];
                if *state == "Unattached" {
                    return Err(refused(Why::Conflict, &call.act));
                }
                *state = json!("ActiveUpload");
                let answer = json!({"accessSAS": format!("sas:{thing}")});
                Ok(self.begin(2, End::Answer(answer)))
            }
            "endgetaccess" => {
                value["properties"]["diskState"] = json!("Unattached");
                Ok(self.begin(2, End::Answer(Value::Null)))
            }
            _ => {
                let quiet = value["tags"]["quiet"] == "yes";
                let log = if quiet { "quiet:" } else { "log:" };
                Ok(Answer::Done(json!({
                    "serialConsoleLogBlobUri": log,
                    "consoleScreenshotBlobUri": "screen:",
                })))
            }
        }
    }
}

fn sizes() -> Value {
    let size = |name: &str, zones: Value| {
        json!({
            "resourceType": "virtualMachines",
            "name": name,
            "family": "standardDSv5Family",
            "locations": ["westeurope"],
            "locationInfo": [{"location": "westeurope", "zones": zones}],
            "capabilities": [
                {"name": "vCPUs", "value": "2"},
                {"name": "MemoryGB", "value": "8"},
                {"name": "MaxDataDiskCount", "value": "4"},
                {"name": "HyperVGenerations", "value": "V1,V2"},
                {"name": "PremiumIO", "value": "True"},
            ],
            "restrictions": [],
        })
    };
    json!({"value": [
        size("Standard_D2s_v5", json!(["1", "2"])),
        size("Standard_D4s_v5", json!(["1"])),
    ]})
}
