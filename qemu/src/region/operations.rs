//! What goes on behind answers: operations, how they are followed, and what they bring about.

use serde_json::{Value, json};

use super::deed::{Deed, Outcome, Ticket};
use super::http::{Request, Response};
use super::refusal::Refusal;
use super::resource::{DiskState, Facts, Power, Provisioning};
use super::{Region, error_object};

/// More are not known: the oldest are forgotten, as Azure forgets them after a while.
const OPERATIONS_MAX: usize = 10_000;

/// Something that goes on.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// The resource that it changes.
    pub(crate) key: String,
    due_ms: u64,
    began_ms: u64,
    /// The deed that it waits for.
    pub(crate) ticket: Option<Ticket>,
    /// What came of that.
    pub(crate) came: Option<Result<Outcome, Refusal>>,
    effect: Effect,
    /// It will fail so.
    fails: Option<Refusal>,
    ended: Option<Result<Value, Refusal>>,
    /// Whether its end shows the resource.
    shows: bool,
}

/// What an operation brings about.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// The resource is as it was asked for.
    Provisioned,
    /// So is the disk, which is then in this state.
    Disk(DiskState),
    /// There is an address to read or write the disk at.
    Granted(DiskState),
    /// There is none any more.
    Revoked,
    /// The machine is in this state.
    Powered(Power),
    /// These are gone.
    Removed(Vec<String>),
    /// The group is gone, and these with it.
    GroupRemoved(Vec<String>),
}

/// By which headers an operation is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follow {
    /// `Azure-AsyncOperation` and `Location`.
    Both,
    /// `Azure-AsyncOperation` alone.
    Status,
    /// `Location` alone.
    Location,
    /// None: the resource tells.
    Resource,
}

/// An operation that begins.
pub(crate) struct Beginning {
    pub(crate) key: String,
    pub(crate) effect: Effect,
    pub(crate) deed: Option<Deed>,
    pub(crate) follow: Follow,
    /// Where it is asked about, below the subscription.
    pub(crate) provider: &'static str,
}

impl Region {
    /// Begins an operation. The answer has this status and body.
    pub(crate) fn begin(
        &mut self,
        request: &Request,
        beginning: Beginning,
        status: u16,
        now_ms: u64,
    ) -> Response {
        let Beginning { key, effect, deed, follow, provider } = beginning;
        let fails = self.twist.fails_later.take();
        let ticket = match deed {
            Some(deed) if fails.is_none() && self.really(&deed) => Some(self.ticket(deed)),
            _ => None,
        };
        let shows = matches!(effect, Effect::Provisioned | Effect::Disk(_));
        let due_ms =
            now_ms.saturating_add(self.settings.operation_ms).saturating_add(self.twist.slow_ms);
        let operation = Operation {
            key: key.clone(),
            due_ms,
            began_ms: now_ms,
            ticket,
            came: None,
            effect,
            fails,
            ended: None,
            shows,
        };
        let name = format!("{:08x}-0000-4000-9000-{:012x}", self.number(), self.settings.seed);
        self.operations.insert(name.clone(), operation);
        // Names grow with time.
        while self.operations.len() > OPERATIONS_MAX {
            self.operations.pop_first();
        }
        let mut response = match self.resources.get(&key) {
            Some(resource) if shows => Response::json(status, &self.describe(resource)),
            _ => Response::empty(status),
        };
        let subscription = request.path.split('/').nth(2).unwrap_or_default();
        let version = request.value("api-version").unwrap_or_default();
        let at = |last: &str| {
            let below = if provider.is_empty() {
                last.to_owned()
            } else {
                format!("providers/{provider}/locations/westeurope/{last}")
            };
            format!(
                "{}/subscriptions/{subscription}/{below}/{name}?api-version={version}",
                request.origin()
            )
        };
        if matches!(follow, Follow::Both | Follow::Status) {
            response = response.with("Azure-AsyncOperation", at("operations"));
        }
        if matches!(follow, Follow::Both | Follow::Location) {
            response = response.with("Location", at("operationresults"));
        }
        response.with("Retry-After", self.settings.retry_after_s.to_string())
    }

    /// Lets everything end that is due.
    pub(crate) fn settle(&mut self, now_ms: u64) {
        let due = |operation: &&Operation| {
            let waits =
                operation.ticket.is_some() && operation.came.is_none() && operation.fails.is_none();
            operation.ended.is_none() && operation.due_ms <= now_ms && !waits
        };
        let names = self.operations.iter().filter(|(_, operation)| due(operation));
        let names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
        for name in names {
            let Some(mut operation) = self.operations.get(&name).cloned() else { continue };
            let refused = match (&operation.fails, &operation.came) {
                (Some(refusal), _) | (None, Some(Err(refusal))) => Some(refusal.clone()),
                _ => None,
            };
            operation.ended = Some(match refused {
                Some(refusal) => {
                    self.failed(&operation);
                    Err(refusal)
                }
                None => Ok(self.succeeded(&operation)),
            });
            self.operations.insert(name, operation);
        }
    }

    /// Ends what goes on with a resource that something newer takes over.
    pub(crate) fn preempt(&mut self, key: &str) {
        let words = "The operation has been preempted by a more recent operation.";
        for operation in self.operations.values_mut() {
            if operation.key == key && operation.ended.is_none() {
                operation.ended = Some(Err(Refusal::new(409, "OperationPreempted", words)));
            }
        }
    }

    fn succeeded(&mut self, operation: &Operation) -> Value {
        let Operation { key, came, effect, .. } = operation;
        let outcome = came.clone().and_then(Result::ok).unwrap_or(Outcome::Done);
        match effect {
            Effect::Removed(keys) => keys.iter().for_each(|key| self.remove(key)),
            Effect::GroupRemoved(keys) => {
                keys.iter().for_each(|key| self.remove(key));
                self.groups.remove(key);
            }
            _ => (),
        }
        let Some(resource) = self.resources.get_mut(key) else { return Value::Null };
        resource.version += 1;
        match (effect, &mut resource.facts) {
            (Effect::Provisioned, facts) => {
                resource.state = Provisioning::Succeeded;
                if let Facts::Machine(machine) = facts
                    && machine.power == Power::Starting
                {
                    machine.power = Power::Running;
                }
            }
            (Effect::Disk(state), Facts::Disk(disk)) => {
                resource.state = Provisioning::Succeeded;
                disk.state = *state;
                if let Outcome::Sized(bytes) = outcome {
                    disk.bytes = bytes;
                }
            }
            (Effect::Granted(state), Facts::Disk(disk)) => {
                disk.state = *state;
                let address = match outcome {
                    Outcome::Address(address) => address,
                    _ => format!("https://{}.blob.storage.invalid/abcd?sig=none", disk.blob),
                };
                return json!({ "accessSAS": address });
            }
            (Effect::Revoked, Facts::Disk(disk)) => {
                disk.state = match &disk.owner {
                    Some(_) => DiskState::Reserved,
                    None => DiskState::Unattached,
                };
            }
            (Effect::Powered(power), Facts::Machine(machine)) => {
                machine.power = *power;
                resource.state = Provisioning::Succeeded;
            }
            _ => (),
        }
        if matches!(effect, Effect::Powered(_)) {
            self.disks_follow(key);
        }
        Value::Null
    }

    fn failed(&mut self, operation: &Operation) {
        let back = match &operation.effect {
            Effect::Provisioned | Effect::Disk(_) => {
                if let Some(resource) = self.resources.get_mut(&operation.key) {
                    resource.state = Provisioning::Failed;
                    if let Facts::Machine(machine) = &mut resource.facts {
                        machine.power = Power::Stopped;
                    }
                }
                return;
            }
            Effect::GroupRemoved(keys) => {
                if let Some(group) = self.groups.get_mut(&operation.key) {
                    group.deleting = false;
                }
                keys.clone()
            }
            Effect::Removed(keys) => keys.clone(),
            _ => vec![operation.key.clone()],
        };
        for key in back {
            if let Some(resource) = self.resources.get_mut(&key) {
                resource.state = Provisioning::Succeeded;
            }
        }
    }

    /// How far an operation is, in both forms.
    pub(crate) fn operation(
        &self,
        request: &Request,
        rest: &[String],
    ) -> Result<Response, Refusal> {
        let name = rest.last().map_or("", String::as_str);
        let Some(operation) = self.operations.get(name) else {
            return Err(Refusal::new(404, "NotFound", format!("No operation {name} is known.")));
        };
        let monitors = rest.iter().any(|word| word.eq_ignore_ascii_case("operationresults"));
        let wait = self.settings.retry_after_s.to_string();
        if monitors {
            let shown =
                || self.resources.get(&operation.key).map(|resource| self.describe(resource));
            return match &operation.ended {
                None => {
                    let target = format!(
                        "{}{}?api-version={}",
                        request.origin(),
                        request.path,
                        request.value("api-version").unwrap_or_default()
                    );
                    Ok(Response::empty(202).with("Location", target).with("Retry-After", wait))
                }
                Some(Err(refusal)) => Err(refusal.clone()),
                Some(Ok(Value::Null)) => Ok(match shown().filter(|_| operation.shows) {
                    Some(shown) => Response::json(200, &shown),
                    None => Response::empty(200),
                }),
                Some(Ok(output)) => Ok(Response::json(200, output)),
            };
        }
        let mut body = json!({ "name": name, "startTime": date(operation.began_ms) });
        let (status, more) = match &operation.ended {
            None => ("InProgress", None),
            Some(Ok(Value::Null)) => ("Succeeded", None),
            Some(Ok(output)) => ("Succeeded", Some(("properties", json!({ "output": output })))),
            Some(Err(refusal)) if refusal.code == "OperationPreempted" => {
                ("Canceled", Some(("error", error_object(refusal))))
            }
            Some(Err(refusal)) => ("Failed", Some(("error", error_object(refusal)))),
        };
        super::resource::set(&mut body, "status", json!(status));
        if let Some((member, value)) = more {
            super::resource::set(&mut body, member, value);
        }
        Ok(Response::json(200, &body).with("Retry-After", wait))
    }
}

/// A moment as Azure writes it.
pub(crate) fn date(ms: u64) -> String {
    let (days, rest) = (ms / 86_400_000, ms % 86_400_000);
    // Days since 1970 into a date of the Gregorian calendar, counted in years that begin in March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, milli) = (rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}
