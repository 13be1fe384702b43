//! Group, network and virtual machine of an order.

use pipeline_azure::arm::Why;
use pipeline_azure::arm::interface;
use pipeline_vault::{Error, Retry};

use super::calls::Thing;
use super::run::{Stop, Work};

impl Work<'_> {
    /// The resource group of a drill; a failover uses the profile's, which the check has seen.
    pub(crate) fn make_group(&mut self) -> Result<(), Stop> {
        if !self.order().makes_group() {
            return Ok(());
        }
        let thing = Thing::Group(self.order().group()?);
        let call = self.order().create_group()?;
        self.make(&thing, &call).map(drop)
    }

    /// A drill's network that reaches nothing; addresses and interface.
    pub(crate) fn make_network(&mut self) -> Result<(), Stop> {
        if let Some((network, rules)) = self.order().drill_network()? {
            let call = self.order().create_rules(&rules)?;
            self.make(&Thing::Resource(rules.clone()), &call)?;
            let call = self.order().create_network(&rules)?;
            self.make(&Thing::Resource(network), &call)?;
        }
        if let Some(public) = self.order().public_address()? {
            let call = self.order().create_public_address(&public)?;
            self.make(&Thing::Resource(public), &call)?;
        }
        let thing = Thing::Resource(self.order().interface()?);
        let call = self.order().create_interface()?;
        let made = self.make(&thing, &call)?;
        let address = interface::addresses(&made).first().map(ToString::to_string);
        self.order_mut().evidence.address = address;
        self.save()
    }

    /// The virtual machine, of the first size that Azure has room for.
    pub(crate) fn make_machine(&mut self) -> Result<(), Stop> {
        let thing = Thing::Resource(self.order().machine()?);
        let mut refusals: Vec<String> = Vec::new();
        loop {
            let Some(size) = self.order().size_at_turn().map(str::to_owned) else {
                // Whoever goes on begins with the best one again.
                self.order_mut().size = 0;
                let what = format!("was refused in every size: {}", refusals.join("; "));
                return Err(Stop::Failed(
                    Error::refused(thing.to_string(), what)
                        .retry(Retry::Later)
                        .remedy("name other sizes or another zone in the target profile, or wait"),
                ));
            };
            let call = self.order().create_machine(&size)?;
            match self.make(&thing, &call) {
                Ok(_) => {
                    self.order_mut().evidence.size = Some(size);
                    return self.save();
                }
                Err(Stop::Refused(refused)) if matches!(refused.why, Why::NoRoom | Why::Quota) => {
                    // What is left of the attempt holds on to disks and interface.
                    self.remove(&thing)?;
                    refusals.push(format!("{size}: {}", refused.words));
                    self.order_mut().size += 1;
                    self.tell(format!("no room for size {size}: {}", refused.words))?;
                }
                Err(stop) => return Err(stop),
            }
        }
    }
}
