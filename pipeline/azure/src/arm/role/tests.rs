//! The role holds what the calls need, no less and no more; the template that makes it says the same.

use std::collections::BTreeSet;

use super::super::disk::{Access, Generation, NewDisk, Source, System};
use super::super::id::{GroupId, Kind, ResourceId, SubnetId};
use super::super::interface::NewInterface;
use super::super::machine::{AfterDelete, NewMachine};
use super::super::tags::Tags;
use super::super::{Call, disk, group, interface, machine, network, permission, size};
use super::*;

const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";
const HERE: &str = "westeurope";

fn named(kind: Kind) -> ResourceId {
    GroupId::new(SUBSCRIPTION, "rg").unwrap().resource(kind, "ab").unwrap()
}

fn disks() -> Vec<Call> {
    let (id, snapshot) = (named(Kind::Disk), named(Kind::Snapshot));
    let new = |source| NewDisk {
        location: HERE.to_owned(),
        zone: None,
        sku: "Premium_LRS".to_owned(),
        source,
        system: Some((System::Linux, Generation::V2)),
        trusted_launch: false,
        tags: Tags::new(),
    };
    vec![
        disk::create(&id, &new(Source::Upload { bytes: 1 << 30 })).unwrap(),
        disk::create(&id, &new(Source::Copy { of: snapshot.clone() })).unwrap(),
        disk::create_snapshot(&snapshot, HERE, &id, &Tags::new()).unwrap(),
        disk::begin_access(&id, Access::Write, 1).unwrap(),
        disk::begin_access(&snapshot, Access::Read, 1).unwrap(),
        disk::end_access(&id).unwrap(),
        disk::end_access(&snapshot).unwrap(),
    ]
}

fn networks() -> Vec<Call> {
    let subnet = SubnetId::new(&named(Kind::Network), "default").unwrap();
    let security = named(Kind::SecurityGroup);
    let new = NewInterface {
        location: HERE.to_owned(),
        subnet: subnet.clone(),
        address: None,
        security: Some(security.clone()),
        public: Some(named(Kind::PublicAddress)),
        accelerated: false,
        tags: Tags::new(),
    };
    vec![
        interface::create(&named(Kind::Interface), &new).unwrap(),
        interface::create_public(&named(Kind::PublicAddress), HERE, None, &Tags::new()).unwrap(),
        network::create(&subnet, HERE, "10.9.0.0/24", &security, &Tags::new()).unwrap(),
        network::create_closed(&security, HERE, &Tags::new()).unwrap(),
        network::look_at_subnet(&subnet),
        network::check_address(&named(Kind::Network), [10, 9, 0, 9].into()).unwrap(),
    ]
}

fn machines() -> Vec<Call> {
    let id = named(Kind::Machine);
    let new = NewMachine {
        location: HERE.to_owned(),
        zone: None,
        size: "Standard_D2s_v5".to_owned(),
        system: (System::Linux, Generation::V2),
        os_disk: named(Kind::Disk),
        data_disks: Vec::new(),
        interfaces: vec![named(Kind::Interface)],
        trusted_launch: false,
        secure_boot: false,
        licence: None,
        after_delete: AfterDelete::Detach,
        tags: Tags::new(),
    };
    let mut calls = vec![machine::create(&id, &new).unwrap()];
    for about in [
        machine::look,
        machine::start,
        machine::power_off,
        machine::shut_down,
        machine::deallocate,
        machine::console,
    ] {
        calls.push(about(&id).unwrap());
    }
    calls
}

/// One of every call.
fn every_call() -> Vec<Call> {
    let place = GroupId::new(SUBSCRIPTION, "rg").unwrap();
    let mut calls = vec![
        group::create(&place, HERE, &Tags::new()).unwrap(),
        group::look(&place),
        group::delete(&place),
        group::resources(&place, "a", "b"),
        group::tagged(SUBSCRIPTION, "a", "b").unwrap(),
        permission::list(&place),
        size::offered(SUBSCRIPTION, HERE).unwrap(),
        size::used(SUBSCRIPTION, HERE).unwrap(),
    ];
    for kind in Kind::ALL {
        calls.push(group::look_at(&named(kind)));
        calls.push(group::remove(&named(kind)));
    }
    calls.into_iter().chain(disks()).chain(networks()).chain(machines()).collect()
}

#[test]
fn the_role_allows_what_the_calls_need_and_nothing_more() {
    let needed: BTreeSet<&str> = every_call()
        .iter()
        .flat_map(|call| call.actions.iter().map(|action| action.name()))
        .collect();
    let allowed: BTreeSet<&str> = actions().into_iter().collect();
    assert_eq!(allowed, needed);
    assert_eq!(allowed.len(), Action::ALL.len(), "no action is there twice");
    assert!(allowed.iter().all(|action| !action.contains('*')));
}

#[test]
fn every_call_says_what_it_does_and_needs_leave() {
    for call in every_call() {
        assert!(!call.actions.is_empty() && call.act.contains('«'), "{call:?}");
        assert!(call.path.starts_with("/subscriptions/"), "{call:?}");
    }
}

#[test]
fn the_template_makes_the_same_role() {
    let template = include_str!("../../../deploy/lifeboat.bicep");
    let (_, rest) =
        template.split_once("var recoveryActions = [").expect("the template has the role");
    let (list, _) = rest.split_once(']').expect("the list ends");
    let listed: Vec<&str> = list
        .lines()
        .map(|line| line.trim().trim_matches('\''))
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(listed, actions());
}

#[test]
fn the_definition_is_as_azure_reads_it() {
    let scope = format!("/subscriptions/{SUBSCRIPTION}");
    let role = definition(core::slice::from_ref(&scope));
    assert_eq!(role["AssignableScopes"], json!([scope]));
    assert_eq!(role["Actions"].as_array().unwrap().len(), actions().len());
}
