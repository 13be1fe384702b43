//! The address that a server has in Azure: given, or the one that it has at home, found in its own settings.
//!
//! Whatever it is, it comes to the server by DHCP from its interface, and what fixed an address in its settings is put aside
//! by the repair: so it keeps its address where it is retained, and loses it where it is not.

use core::net::IpAddr;

use pipeline_azure::arm::network::range_holds;

use super::hands::Survey;
use super::run::Work;
use crate::profile::Address;

impl Work<'_> {
    /// The address that its interface asks for in a subnet of these ranges, where it asks for one that can be had.
    pub(super) fn settle_address(
        &mut self,
        survey: &Survey,
        subnet: &str,
        ranges: &[&str],
        problems: &mut Vec<String>,
    ) -> Option<IpAddr> {
        let holds = |address: IpAddr| ranges.iter().any(|range| range_holds(range, address));
        let shown = format!("subnet {subnet} ({})", ranges.join(", "));
        if self.order().profile.address == Address::Retained(None) {
            match survey.addresses.iter().copied().find(|address| holds(*address)) {
                Some(address) => self.retain(address),
                None => problems.push(nothing_to_retain(survey, &shown)),
            }
        }
        let address = self.order().profile.known_address()?;
        // A subnet that does not tell its ranges is asked about the address itself.
        if !ranges.is_empty() && !holds(address) {
            problems.push(format!(
                "address {address} is not in {shown}: name a subnet that holds it, or give the profile another address"
            ));
            return None;
        }
        Some(address)
    }

    /// A drill is in a network of its own: it has the address where that holds it, and another one where it does not.
    pub(super) fn retain_in_drill(&mut self, survey: &Survey) {
        let range = self.order().profile.drill_range.clone();
        let mut addresses = survey.addresses.iter().copied();
        let found = addresses.find(|address| range_holds(&range, *address));
        if let Some(address) =
            found.filter(|_| self.order().profile.address == Address::Retained(None))
        {
            self.retain(address);
        }
    }

    fn retain(&mut self, address: IpAddr) {
        let wall = self.world.hands.wall_millis();
        let order = self.order_mut();
        order.profile.address = Address::Retained(Some(address));
        order.note(wall, format!("keeps its address {address}, which its own settings fix"));
    }
}

fn nothing_to_retain(survey: &Survey, subnet: &str) -> String {
    let instead =
        "give the profile address = { retained = \"ITS ADDRESS\" }, or address = \"dynamic\"";
    if survey.addresses.is_empty() {
        return format!(
            "its address is to be retained, and no settings of the point fix one: it asks for one by DHCP at home; {instead}"
        );
    }
    let found: Vec<String> = survey.addresses.iter().map(ToString::to_string).collect();
    format!(
        "its address is to be retained, and {subnet} holds none of those that it has at home ({}): name a subnet that does, or {instead}",
        found.join(", ")
    )
}
