//! Before anything is made: what would stop the order, all of it at once.

use pipeline_azure::arm::disk::Generation;
use pipeline_azure::arm::id::{GroupId, Kind as What};
use pipeline_azure::arm::network::{self, Availability};
use pipeline_azure::arm::permission::{self, Permissions};
use pipeline_azure::arm::size::{self, Size, Usage};
use pipeline_azure::arm::tags::Tags;
use pipeline_azure::arm::{Answer, Call, Why};
use pipeline_vault::Error;
use serde_json::Value;

use super::calls::{ORDER_TAG, SERVER_TAG, Thing};
use super::hands::Survey;
use super::run::{Stop, Work};
use super::signal::words;
use super::thing::Found;
use super::{DiskPlan, Kind, Order};
use crate::profile::Security;

const GIB: u64 = 1 << 30;
/// Largest disk that a machine of generation 1 starts from: its partition table has no more.
const SYSTEM_BYTES_MAX_V1: u64 = 2048 * GIB;
/// The same of generation 2, by Azure's word.
const SYSTEM_BYTES_MAX_V2: u64 = 4095 * GIB;
/// Largest disk of all.
const DISK_BYTES_MAX: u64 = 32_767 * GIB;

impl Work<'_> {
    /// Looks at the point and asks Azure; nothing is made.
    pub(crate) fn check(&mut self) -> Result<(), Stop> {
        let (hands, order) = (self.world.hands, self.order().clone());
        let survey = self.signing(move || hands.survey(&order))??;
        let mut problems = self.take_up(&survey);
        self.check_signals(&mut problems);
        self.look_for_seeds()?;
        self.check_sizes(&mut problems)?;
        self.check_places(&survey, &mut problems)?;
        self.check_rights(&mut problems)?;
        if problems.is_empty() {
            return self.save();
        }
        let count = problems.len();
        let what = if count == 1 { problems.remove(0) } else { problems.join("; ") };
        Err(Stop::Failed(
            Error::refused(format!("server {}", self.order().server_name), what)
                .remedy("nothing was made"),
        ))
    }

    /// A drill's network is closed to whoever asks a port from outside, as the appliance on the site does: only the console
    /// tells there, and a profile without a line of it proves nothing.
    fn check_signals(&mut self, problems: &mut Vec<String>) {
        let order = self.order();
        if order.kind != Kind::Drill {
            return;
        }
        problems.extend(order.profile.cannot_be_drilled().map(str::to_owned));
        let unasked: Vec<String> =
            order.profile.signals.iter().filter(|one| one.is_by_network()).map(words).collect();
        if !unasked.is_empty() {
            let note = format!(
                "not judged in a drill, whose network is closed: {}; its console is",
                unasked.join(", ")
            );
            let wall = self.world.hands.wall_millis();
            self.order_mut().note(wall, note);
        }
    }

    /// The same before a server is stopped for a planned failover, by the newest point that there is: nobody goes down for a
    /// place that is not ready. Nothing is kept, and the last point alone is read through.
    pub(crate) fn foresee(&mut self) -> Result<(), Stop> {
        let order = Order { reads_first: false, ..self.order().clone() };
        let world = self.world;
        self.signing(move || Work::rehearsal(world, order).check())?
    }

    /// What the point says, taken into the order.
    pub(crate) fn take_up(&mut self, survey: &Survey) -> Vec<String> {
        let order = self.order_mut();
        let generation = order.profile.generation.unwrap_or(survey.generation);
        let named = order.profile.starts_from.clone();
        let starts = match &named {
            Some(name) => survey.disks.iter().position(|disk| disk.name == *name),
            None => Some(survey.starts_from),
        };
        let mut problems = Vec::new();
        if starts.is_none_or(|place| place >= survey.disks.len()) {
            let name = named.unwrap_or_default();
            problems.push(format!("the profile's starts_from «{name}» is no disk of the point"));
        }
        order.point = Some(survey.point.clone());
        order.generation = generation;
        order.system = survey.system;
        let profile = order.profile.clone();
        let plans = survey.disks.iter().enumerate().map(|(place, disk)| DiskPlan {
            name: disk.name.clone(),
            bytes: disk.bytes,
            starts: Some(place) == starts,
            kind: profile.disk_type(&disk.name, Some(place) == starts).to_owned(),
            on_top: Vec::new(),
            filled: false,
            filled_bytes: 0,
            closed: false,
            import: None,
            seed: None,
            copied: false,
        });
        order.disks = plans.collect();
        for (disk, facts) in order.disks.iter().zip(&survey.disks) {
            problems.extend(disk_problem(disk, facts.sector_bytes, generation));
        }
        if profile.security == Security::TrustedLaunch && generation == Generation::V1 {
            problems.push("it starts by BIOS, and the profile wants trusted_launch".to_owned());
        }
        if order.despite_obstacles {
            let wall = self.world.hands.wall_millis();
            for obstacle in &survey.obstacles {
                self.order_mut().note(wall, format!("goes on although: {obstacle}"));
            }
        } else {
            problems.extend(survey.obstacles.iter().cloned());
        }
        let wall = self.world.hands.wall_millis();
        for repair in &survey.repairs {
            self.order_mut().note(wall, format!("repaired on the copy: {repair}"));
        }
        problems
    }

    /// Sizes that are offered and fit; the order keeps those.
    fn check_sizes(&mut self, problems: &mut Vec<String>) -> Result<(), Stop> {
        let profile = self.order().profile.clone();
        let (subscription, location) = (&profile.subscription, &profile.location);
        let offered = self.ask(&size::offered(subscription, location)?)?;
        let offered = size::sizes(&offered, location);
        let usages = size::usages(&self.ask(&size::used(subscription, location)?)?);
        let mut fits = Vec::new();
        let mut refusals = Vec::new();
        for name in &profile.sizes {
            let found = offered.iter().find(|size| size.name.eq_ignore_ascii_case(name));
            match found {
                None => refusals.push(format!("{name} is not offered in {location}")),
                Some(size) => match self.refuses(size, &usages) {
                    Some(refusal) => refusals.push(refusal),
                    None => fits.push(size.name.clone()),
                },
            }
        }
        if fits.is_empty() {
            problems.push(format!("none of its sizes can be had: {}", refusals.join(", ")));
        } else {
            let wall = self.world.hands.wall_millis();
            for refusal in refusals {
                self.order_mut().note(wall, format!("a size is left out: {refusal}"));
            }
        }
        let order = self.order_mut();
        order.sizes = fits;
        order.size = 0;
        Ok(())
    }

    fn refuses(&self, size: &Size, usages: &[Usage]) -> Option<String> {
        let order = self.order();
        let name = &size.name;
        if let Some(refusal) = size.refuses(order.profile.zone.as_deref()) {
            return Some(refusal);
        }
        let [first, second] = size.generations;
        let (takes, firmware) = match order.generation {
            Generation::V1 => (first, "BIOS"),
            Generation::V2 => (second, "UEFI"),
        };
        if !takes {
            return Some(format!("{name} does not start by {firmware}"));
        }
        let others = order.disks.iter().filter(|disk| !disk.starts).count();
        if u32::try_from(others).is_ok_and(|others| others > size.data_disks_max) {
            return Some(format!("{name} takes {} disks beside the first", size.data_disks_max));
        }
        if !size.premium && order.disks.iter().any(|disk| disk.kind.starts_with("Premium")) {
            return Some(format!("{name} takes no premium disks"));
        }
        if order.profile.security == Security::TrustedLaunch && !size.trusted_launch {
            return Some(format!("{name} has no trusted launch"));
        }
        size::missing_cores(usages, &size.family, size.cores).map(|why| format!("{name}: {why}"))
    }

    /// Group, network, address and names.
    fn check_places(&mut self, survey: &Survey, problems: &mut Vec<String>) -> Result<(), Stop> {
        if self.order().kind == Kind::Drill {
            self.retain_in_drill(survey);
        }
        let group = self.order().group()?;
        if self.order().makes_group() {
            return Ok(());
        }
        if self.is_missing(&Thing::Group(group.clone()))? {
            problems.push(format!(
                "resource group {} is not in subscription {}: make it, or give the profile another",
                group.name(),
                group.subscription()
            ));
            return Ok(());
        }
        let names =
            [Thing::Resource(self.order().machine()?), Thing::Resource(self.order().interface()?)];
        for thing in names {
            // What an earlier round of this order made is its own.
            if matches!(self.find(&thing)?, Found::Foreign) {
                let whose = self.whose(&thing)?;
                problems.push(format!("{thing} is {whose}: give the profile another name or group, as in name = \"{}-b\"", thing.name()));
            }
        }
        if self.order().kind != Kind::Drill {
            self.check_network(survey, problems)?;
        }
        Ok(())
    }

    /// Whose something is that is in the way.
    fn whose(&mut self, thing: &Thing) -> Result<String, Stop> {
        let found = match self.call(&super::calls::get(thing))? {
            Answer::Done(found) => found,
            Answer::Begun(_) => Value::Null,
        };
        let (tags, order) = (Tags::of(&found), self.order());
        let ours = tags.value(SERVER_TAG) == Some(order.server.to_string().as_str());
        Ok(match tags.value(ORDER_TAG).filter(|_| ours) {
            Some(earlier) => format!(
                "what failover {earlier} of this server made and was kept; take it away in the portal where nobody needs it, or let both stand"
            ),
            None => "there already and not this order's".to_owned(),
        })
    }

    fn check_network(&mut self, survey: &Survey, problems: &mut Vec<String>) -> Result<(), Stop> {
        let subnet = self.order().subnet()?;
        let found = match self.ask(&network::look_at_subnet(&subnet)) {
            Ok(found) => found,
            Err(Stop::Refused(refused)) if refused.why == Why::Missing => {
                problems.push(format!(
                    "subnet {} of network {} is not there: make it, or correct the target profile",
                    subnet.name(),
                    subnet.network().name()
                ));
                return Ok(());
            }
            Err(stop) => return Err(stop),
        };
        // An interface that this order has already made counts itself among what is taken.
        let has_interface =
            !matches!(self.find(&Thing::Resource(self.order().interface()?))?, Found::Nothing);
        if has_interface {
            return Ok(());
        }
        if network::free_addresses(&found) == Some(0) {
            problems.push(format!(
                "subnet {} is full: enlarge it, or name another in the target profile",
                subnet.name()
            ));
        }
        let ranges: Vec<&str> = network::ranges(&found);
        if let Some(address) = self.settle_address(survey, subnet.name(), &ranges, problems) {
            let answer = self.ask(&network::check_address(subnet.network(), address)?)?;
            let availability = Availability::of(&answer);
            if !availability.free {
                let others: Vec<String> =
                    availability.others.iter().take(3).map(ToString::to_string).collect();
                let others = if others.is_empty() {
                    String::new()
                } else {
                    format!(" (free are {})", others.join(", "))
                };
                problems.push(format!("address {address} is taken or not of the network{others}"));
            }
        }
        if let Some(name) = self.order().profile.security_group.clone() {
            let profile = &self.order().profile;
            let group = GroupId::new(&profile.subscription, profile.network_group())?;
            let thing = Thing::Resource(group.resource(What::SecurityGroup, &name)?);
            if self.is_missing(&thing)? {
                problems
                    .push(format!("{thing} is not there: make it, or correct the target profile"));
            }
        }
        Ok(())
    }

    /// What the order will want to do and may not, as far as Azure tells beforehand.
    fn check_rights(&mut self, problems: &mut Vec<String>) -> Result<(), Stop> {
        if self.order().makes_group() {
            return Ok(());
        }
        let group = self.order().group()?;
        let permissions = match self.ask(&permission::list(&group)) {
            Ok(answer) => Permissions::of(&answer),
            // Not everybody may ask; then the call itself will tell.
            Err(Stop::Refused(refused))
                if matches!(refused.why, Why::Denied | Why::Missing | Why::Invalid) =>
            {
                log::debug!("{refused}");
                return Ok(());
            }
            Err(stop) => return Err(stop),
        };
        let denied =
            permissions.denied(self.calls_to_come()?.iter().flat_map(|call| call.actions).copied());
        if !denied.is_empty() {
            let denied: Vec<String> = denied.iter().map(ToString::to_string).collect();
            problems.push(format!(
                "this identity may not {} in {}: give it Lifeboat's role there",
                denied.join(", "),
                group.name()
            ));
        }
        Ok(())
    }

    /// The calls that will be made, and those that would take it all back.
    fn calls_to_come(&self) -> Result<Vec<Call>, Error> {
        let order = self.order();
        let mut calls = vec![
            order.create_interface()?,
            super::calls::remove(&Thing::Resource(order.machine()?)),
        ];
        if let Some(size) = order.size_at_turn() {
            calls.push(order.create_machine(size)?);
        }
        for (place, disk) in order.disks.iter().enumerate() {
            // A disk that cannot be is told as its own problem.
            calls.extend(order.create_disk(place, disk).ok());
            let id = order.disk(place)?;
            calls.push(super::calls::grant(&id)?);
            calls.extend(super::calls::revoke(&Thing::Resource(id.clone())));
            calls.push(super::calls::remove(&Thing::Resource(id)));
        }
        calls.push(super::calls::remove(&Thing::Resource(order.interface()?)));
        Ok(calls)
    }

    fn is_missing(&mut self, thing: &Thing) -> Result<bool, Stop> {
        Ok(matches!(self.find(thing)?, Found::Nothing))
    }

    /// Asks something that is answered at once.
    fn ask(&mut self, call: &Call) -> Result<Value, Stop> {
        match self.call(call)? {
            Answer::Done(value) => Ok(value),
            Answer::Begun(_) => Err(Stop::Failed(Error::refused(
                call.act.clone(),
                "was answered with an operation, which makes no sense",
            ))),
        }
    }
}

/// Why Azure would not take a disk.
fn disk_problem(disk: &DiskPlan, sector_bytes: u32, generation: Generation) -> Option<String> {
    let name = &disk.name;
    let system_max = match generation {
        Generation::V1 => SYSTEM_BYTES_MAX_V1,
        Generation::V2 => SYSTEM_BYTES_MAX_V2,
    };
    if disk.starts && disk.bytes > system_max {
        return Some(format!(
            "disk {name} has {} GiB and Azure starts from {} GiB at most: make its system fit on a smaller disk",
            disk.bytes / GIB,
            system_max / GIB
        ));
    }
    if disk.bytes > DISK_BYTES_MAX {
        return Some(format!("disk {name} is larger than any of Azure's: 32767 GiB at most"));
    }
    (sector_bytes != 512).then(|| {
        format!(
            "disk {name} has sectors of {sector_bytes} bytes, and a disk that is uploaded to Azure has 512: \
             nothing would find its partitions; copy its files to a disk with 512"
        )
    })
}
