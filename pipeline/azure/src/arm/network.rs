//! Networks, subnets and what may pass in them.

use core::net::IpAddr;

use pipeline_vault::Error;
use serde_json::{Value, json};

use super::Call;
use super::action::Action;
use super::id::{Kind, ResourceId, SubnetId, check_location};
use super::tags::Tags;
use crate::request::Method;

/// Addresses of every subnet that Azure keeps for itself: the first four and the last.
const KEPT_BY_AZURE: u64 = 5;

/// Makes a network with one subnet behind a security group.
///
/// The subnet has no way out to the Internet of its own accord.
pub fn create(
    subnet: &SubnetId,
    location: &str,
    prefix: &str,
    security: &ResourceId,
    tags: &Tags,
) -> Result<Call, Error> {
    check_location(location)?;
    security.expect(Kind::SecurityGroup)?;
    if prefix_addresses(prefix).is_none_or(|addresses| addresses < 8) {
        return Err(Error::misuse(
            format!("prefix «{prefix}»"),
            "is no network of at least eight addresses",
        )
        .remedy("write it like 10.99.0.0/24"));
    }
    let body = json!({
        "location": location,
        "tags": tags.to_json(),
        "properties": {
            "addressSpace": {"addressPrefixes": [prefix]},
            "subnets": [{
                "name": subnet.name(),
                "properties": {
                    "addressPrefix": prefix,
                    "networkSecurityGroup": {"id": security.path()},
                    "defaultOutboundAccess": false,
                },
            }],
        },
    });
    let actions = &[Action::NetworkWrite, Action::SecurityGroupJoin];
    Ok(put(subnet.network(), actions, body))
}

/// Priorities that Azure takes are 100 to 4096.
const RULE_FIRST: u32 = 100;
const RULE_LAST: u32 = 4096;

/// Makes a security group that lets nothing in and nothing out: for drills.
///
/// A machine in it reaches nothing real and nothing reaches it; only what Azure itself provides to a machine
/// (its address by DHCP, its health) passes, as that obeys no rule.
pub fn create_closed(group: &ResourceId, location: &str, tags: &Tags) -> Result<Call, Error> {
    with_rules(group, location, tags, &closing())
}

/// The same for several machines that make up one drill: in their own network they reach each other, and nothing else.
pub fn create_closed_around(
    group: &ResourceId,
    location: &str,
    prefix: &str,
    tags: &Tags,
) -> Result<Call, Error> {
    if prefix_addresses(prefix).is_none() {
        return Err(Error::misuse(format!("prefix «{prefix}»"), "is no network")
            .remedy("write it like 10.99.0.0/24"));
    }
    let inside = |name, direction| rule(name, direction, prefix, ("Allow", RULE_FIRST));
    let [first, second] = closing();
    let rules = [inside("inside-in", "Inbound"), inside("inside-out", "Outbound"), first, second];
    with_rules(group, location, tags, &rules)
}

fn closing() -> [Value; 2] {
    let deny = |name, direction| rule(name, direction, "*", ("Deny", RULE_LAST));
    [deny("nothing-in", "Inbound"), deny("nothing-out", "Outbound")]
}

/// A rule for all that comes from and goes to these addresses; the lower number counts first.
fn rule(name: &str, direction: &str, addresses: &str, (access, priority): (&str, u32)) -> Value {
    json!({
        "name": name,
        "properties": {
            "description": "A drill reaches nothing",
            "protocol": "*",
            "sourcePortRange": "*",
            "destinationPortRange": "*",
            "sourceAddressPrefix": addresses,
            "destinationAddressPrefix": addresses,
            "access": access,
            "priority": priority,
            "direction": direction,
        },
    })
}

fn with_rules(
    group: &ResourceId,
    location: &str,
    tags: &Tags,
    rules: &[Value],
) -> Result<Call, Error> {
    group.expect(Kind::SecurityGroup)?;
    check_location(location)?;
    let body = json!({
        "location": location,
        "tags": tags.to_json(),
        "properties": {"securityRules": rules},
    });
    Ok(put(group, &[Action::SecurityGroupWrite], body))
}

fn put(resource: &ResourceId, actions: &'static [Action], body: Value) -> Call {
    let act = format!("creating {}", resource.shown());
    let version = resource.kind().api_version();
    Call::new(Method::Put, resource.path(), version, actions, act).with_body(body)
}

/// Looks at a subnet.
pub fn look_at_subnet(subnet: &SubnetId) -> Call {
    let act = format!("looking at {}", shown(subnet));
    let version = Kind::Network.api_version();
    let call = Call::new(Method::Get, subnet.path(), version, &[Action::SubnetRead], act);
    // Without it Azure leaves out what is in the subnet.
    call.with_query("$expand", "ipConfigurations")
}

/// Asks whether an address of a network is free.
pub fn check_address(network: &ResourceId, address: IpAddr) -> Result<Call, Error> {
    network.expect(Kind::Network)?;
    let act = format!("asking for address {address} of {}", network.shown());
    let path = format!("{}/CheckIPAddressAvailability", network.path());
    let version = Kind::Network.api_version();
    let call = Call::new(Method::Get, path, version, &[Action::NetworkRead], act);
    Ok(call.with_query("ipAddress", address.to_string()))
}

/// How a person names a subnet.
pub(crate) fn shown(subnet: &SubnetId) -> String {
    format!("subnet «{}» of {}", subnet.name(), subnet.network().shown())
}

/// Whether an address is free, and which are, as `check_address` was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Availability {
    /// It can be had.
    pub free: bool,
    /// Some that can be had.
    pub others: Vec<IpAddr>,
}

impl Availability {
    /// What the answer says. What it leaves out is not free.
    pub fn of(answer: &Value) -> Self {
        let others = answer.get("availableIPAddresses").and_then(Value::as_array);
        let parsed = others.into_iter().flatten().filter_map(|text| text.as_str()?.parse().ok());
        let free = answer.get("available").and_then(Value::as_bool).unwrap_or(false);
        Self { free, others: parsed.collect() }
    }
}

/// How many addresses a subnet has left; `None` where the answer does not tell.
pub fn free_addresses(subnet: &Value) -> Option<u64> {
    let properties = subnet.get("properties")?;
    let ranges = ranges(subnet);
    let addresses = ranges
        .iter()
        .filter(|prefix| !prefix.contains(':'))
        .find_map(|range| prefix_addresses(range));
    let addresses =
        addresses.or_else(|| ranges.first().and_then(|range| prefix_addresses(range)))?;
    let used = properties.get("ipConfigurations").and_then(Value::as_array).map_or(0, Vec::len);
    Some(addresses.saturating_sub(KEPT_BY_AZURE).saturating_sub(u64::try_from(used).ok()?))
}

/// The ranges of a subnet, such as `10.0.0.0/24`, as `look_at_subnet` was answered.
#[must_use]
pub fn ranges(subnet: &Value) -> Vec<&str> {
    let Some(properties) = subnet.get("properties") else { return Vec::new() };
    let one = properties.get("addressPrefix").and_then(Value::as_str);
    let many = properties.get("addressPrefixes").and_then(Value::as_array);
    let many = many.into_iter().flatten().filter_map(Value::as_str);
    one.into_iter().chain(many.filter(|range| Some(*range) != one)).collect()
}

/// Whether a range holds an address; not where it is none.
#[must_use]
pub fn range_holds(range: &str, address: IpAddr) -> bool {
    let Some((first, length)) = range.split_once('/') else { return false };
    let Ok(length) = length.parse::<u32>() else { return false };
    // Both as numbers of 128 bits, those of IPv4 in the highest.
    let wide = |address: IpAddr| match address {
        IpAddr::V4(four) => u128::from(four.to_bits()) << 96,
        IpAddr::V6(six) => six.to_bits(),
    };
    match first.parse::<IpAddr>() {
        Ok(first) if first.is_ipv4() == address.is_ipv4() && length <= 128 => {
            let fixed = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            wide(first) & fixed == wide(address) & fixed
        }
        _ => false,
    }
}

/// How many addresses `10.0.0.0/24` has.
fn prefix_addresses(prefix: &str) -> Option<u64> {
    let (address, length) = prefix.split_once('/')?;
    let width: u32 = match address.parse::<IpAddr>().ok()? {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    let free = width.checked_sub(length.parse().ok()?)?;
    Some(1_u64.checked_shl(free).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::id::GroupId;
    use super::*;

    fn subnet() -> SubnetId {
        let group = GroupId::new("00000000-0000-0000-0000-000000000001", "rg").unwrap();
        SubnetId::new(&group.resource(Kind::Network, "net").unwrap(), "default").unwrap()
    }

    #[test]
    fn a_range_holds_what_is_in_it_of_either_kind() {
        let cases = [
            ("10.1.0.0/24", "10.1.0.255", true),
            ("10.1.0.0/24", "10.1.1.0", false),
            ("10.1.0.0/32", "10.1.0.0", true),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("fd00:1::/64", "fd00:1::9", true),
            ("fd00:1::/64", "fd00:2::9", false),
            ("fd00:1::/64", "10.1.0.1", false),
            ("10.1.0.0/129", "10.1.0.0", false),
            ("10.1.0.0", "10.1.0.0", false),
        ];
        for (range, address, holds) in cases {
            assert_eq!(range_holds(range, address.parse().unwrap()), holds, "{range} {address}");
        }
        let subnet = json!({ "properties": { "addressPrefixes": ["10.1.0.0/24", "fd00:1::/64"] } });
        assert_eq!(ranges(&subnet), ["10.1.0.0/24", "fd00:1::/64"]);
    }

    #[test]
    fn addresses_left_are_counted_without_those_of_azure() {
        let answer =
            json!({"properties": {"addressPrefix": "10.0.0.0/29", "ipConfigurations": [{}]}});
        assert_eq!(free_addresses(&answer), Some(2));
        let many = json!({"properties": {"addressPrefixes": ["fd00::/64", "10.0.0.0/28"]}});
        assert_eq!(free_addresses(&many), Some(11));
        let full = json!({"properties": {"addressPrefix": "10.0.0.0/30"}});
        assert_eq!(free_addresses(&full), Some(0));
        for odd in ["10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/-1"] {
            assert_eq!(
                free_addresses(&json!({"properties": {"addressPrefix": odd}})),
                None,
                "{odd}"
            );
        }
        assert_eq!(free_addresses(&Value::Null), None);
    }

    #[test]
    fn an_address_is_free_only_if_azure_says_so() {
        let answer = json!({"available": false, "availableIPAddresses": ["10.0.0.9", "odd", 7]});
        let availability = Availability::of(&answer);
        assert!(!availability.free && availability.others == [IpAddr::from([10, 0, 0, 9])]);
        assert!(Availability::of(&json!({"available": true})).free);
        assert!(!Availability::of(&Value::Null).free);
    }

    #[test]
    fn machines_of_one_drill_reach_each_other_and_nothing_else() {
        let security = subnet().network().group().resource(Kind::SecurityGroup, "closed").unwrap();
        let around = |prefix| create_closed_around(&security, "westeurope", prefix, &Tags::new());
        let body = around("10.99.0.0/24").unwrap().body.unwrap();
        let rules = body["properties"]["securityRules"].as_array().unwrap();
        for side in ["Inbound", "Outbound"] {
            let mut of: Vec<&Value> = rules.iter().map(|rule| &rule["properties"]).collect();
            of.retain(|rule| rule["direction"] == side);
            of.sort_by_key(|rule| rule["priority"].as_u64());
            let said: Vec<_> = of
                .iter()
                .map(|rule| {
                    let ends = [&rule["sourceAddressPrefix"], &rule["destinationAddressPrefix"]];
                    (rule["access"].as_str().unwrap(), ends.map(|end| end.as_str().unwrap()))
                })
                .collect();
            assert_eq!(said, [("Allow", ["10.99.0.0/24"; 2]), ("Deny", ["*"; 2])]);
            let range = |rule: &&Value| (100..=4096).contains(&rule["priority"].as_u64().unwrap());
            assert!(of.iter().all(range), "what Azure takes: {of:?}");
        }
        assert!(around("*").is_err() && around("10.99.0.0").is_err());
    }

    #[test]
    fn a_drills_network_is_closed_on_both_sides() {
        let subnet = subnet();
        let security = subnet.network().group().resource(Kind::SecurityGroup, "closed").unwrap();
        let closed = create_closed(&security, "westeurope", &Tags::new()).unwrap();
        let rules = closed.body.unwrap()["properties"]["securityRules"].clone();
        let sides: Vec<_> =
            rules.as_array().unwrap().iter().map(|rule| &rule["properties"]).collect();
        for side in ["Inbound", "Outbound"] {
            assert!(sides.iter().any(|rule| rule["direction"] == side && rule["access"] == "Deny"));
        }
        let make = |prefix| create(&subnet, "westeurope", prefix, &security, &Tags::new());
        let network = make("10.99.0.0/24").unwrap().body.unwrap();
        let inside = &network["properties"]["subnets"][0]["properties"];
        assert_eq!(inside["networkSecurityGroup"]["id"], security.path());
        assert_eq!(inside["defaultOutboundAccess"], false);
        assert!(make("10.99.0.0/30").is_err() && make("10.99.0.0").is_err());
    }
}
