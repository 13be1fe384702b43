//! The seam to the network: what the first process asks of it.

use super::Appliance;

/// Brings links up and keeps them so; ends when the machine goes down.
pub(crate) fn serve(appliance: &Appliance) -> Result<(), String> {
    while !appliance.stop.rest(core::time::Duration::from_secs(3600)) {}
    Ok(())
}

/// The time servers that the network names.
pub(crate) fn time_servers(_: &Appliance) -> Vec<core::net::IpAddr> {
    Vec::new()
}

/// The network's settings, asked for at the console.
pub(crate) fn settings(_: &Appliance) -> Result<(), String> {
    Err("the network has no settings in this version".to_owned())
}
