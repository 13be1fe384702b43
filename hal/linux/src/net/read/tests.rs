//! Messages that the kernel could send are read, and any bytes are taken.

use super::*;
use crate::net::message::{Message, replies};
use crate::net::write;
use hal::net::ndisc::{Advice, read_advice};
use hal::net::nic::Change;

fn reply(message: &Message) -> Reply {
    replies(&message.emit(1)).remove(0)
}

#[test]
fn a_route_that_was_written_is_read_as_ours() {
    for route in [
        Route {
            to: "10.0.0.0/8".parse().unwrap(),
            via: Some("192.168.0.1".parse().unwrap()),
            link: 3,
            metric: 7,
            source: None,
        },
        Route {
            to: Cidr::EVERYTHING_V6,
            via: Some("fe80::1".parse().unwrap()),
            link: 3,
            metric: 7,
            source: Some("fd00::5".parse().unwrap()),
        },
    ] {
        let (message, _) = write::change(&Change::AddRoute(route)).unwrap();
        assert_eq!(own_route(&reply(&message)), Some(route));
        let mut others = reply(&message);
        others.body[5] = 3;
        assert_eq!(own_route(&others), None);
    }
}

#[test]
fn a_vlan_that_was_written_is_read() {
    let change = Change::AddVlan { name: "vlan20".into(), on: 4, id: 20 };
    let (message, _) = write::change(&change).unwrap();
    let facts = link(&reply(&message)).unwrap();
    assert_eq!(facts.name, "vlan20");
    assert_eq!(facts.kind, LinkKind::Vlan { on: Some(4), id: 20 });
}

#[test]
fn what_routers_leave_to_servers_is_read_of_the_link() {
    for (flags, managed) in [
        (0x8000_0030_u32, Managed::Nothing),
        (0x8000_00B0, Managed::Information),
        (0x8000_0070, Managed::Addresses),
        (0x8000_00F0, Managed::Addresses),
    ] {
        let message = Message::new(16, 0, &[0; 16]).with_text(3, "eth0").with_nested(26, |all| {
            // Beside what is said of IPv4, whose first attribute means something else.
            let all = all.with_nested(2, |four| four.with(1, &[0xFF; 132]));
            all.with_nested(10, |six| six.with_number(1, flags).with(5, &[0; 16]))
        });
        assert_eq!(link(&reply(&message)).unwrap().managed, managed, "{flags:x}");
    }
}

#[test]
fn routers_advice_is_read() {
    let mut body = vec![10, 0, 24, 0, 5, 0, 0, 0, 134, 0, 0, 0, 0, 0, 0, 0];
    body.extend([25, 3, 0, 0, 0, 0, 0, 60]);
    body.extend("fd00::53".parse::<Ipv6Addr>().unwrap().octets());
    let heard = Reply { kind: 68, flags: 0, sequence: 0, body };
    let (link, said) = options(&heard).unwrap();
    assert_eq!(link, 5);
    assert_eq!(
        read_advice(said),
        [Advice::Servers { servers: vec!["fd00::53".parse().unwrap()], seconds: 60 }]
    );
}

#[test]
fn any_bytes_are_taken() {
    let change = Change::AddVlan { name: "vlan20".into(), on: 4, id: 20 };
    let route = Route {
        to: "10.0.0.0/8".parse().unwrap(),
        via: Some("192.168.0.1".parse().unwrap()),
        link: 3,
        metric: 7,
        source: None,
    };
    let mut state = 9_u64;
    for good in [
        write::change(&change).unwrap().0.emit(1),
        write::change(&Change::AddRoute(route)).unwrap().0.emit(1),
        write::change(&Change::AddAddress { link: 3, address: route.to }).unwrap().0.emit(1),
    ] {
        for round in 0..20_000_usize {
            let mut bad = good.clone();
            for _ in 0..1 + round % 6 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = usize::try_from(state >> 33).unwrap() % bad.len();
                bad[at] = state.to_le_bytes()[3];
            }
            bad.truncate(bad.len() - round % 7);
            for mut heard in replies(&bad) {
                for kind in [16, 20, 24, 68] {
                    heard.kind = kind;
                    let _ = (link(&heard), address(&heard), own_route(&heard), way(&heard));
                    let _ = options(&heard);
                }
            }
        }
    }
}
