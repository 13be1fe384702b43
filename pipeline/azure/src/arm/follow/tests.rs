//! Operations: what begins one, and how each kind of them ends.

use serde_json::json;

use super::*;

const DISK: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/a";

fn region() -> Origin {
    Origin { https: true, authority: "management.azure.com".to_owned() }
}

fn call(method: Method) -> Call {
    Call::new(method, DISK, "2024-03-02", &[], "creating disk «a»")
}

fn head(status: u16, headers: &[(&str, &str)]) -> Head {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Head { status, headers: headers.iter().map(owned).collect() }
}

fn begin(method: Method, head: &Head, body: Value) -> Answer {
    begun(&call(method), head, body, &region()).unwrap()
}

const STATUS: &str = "https://management.azure.com/subscriptions/s/operations/1?api-version=1";
const LOCATION: &str = "https://management.azure.com/subscriptions/s/operations/1?monitor=true";

#[test]
fn a_status_is_followed_before_a_location() {
    let both = head(
        201,
        &[("azure-asyncoperation", STATUS), ("location", LOCATION), ("retry-after", "7")],
    );
    let Answer::Begun(put) = begin(Method::Put, &both, json!({})) else { panic!("begun") };
    assert_eq!(
        (put.address.as_str(), put.follows, put.retry_after_s),
        (STATUS, Follows::Status, 7)
    );
    assert_eq!(put.result.unwrap().path, DISK);
    let Answer::Begun(post) = begin(Method::Post, &both, Value::Null) else { panic!("begun") };
    assert_eq!(post.result.unwrap().path, LOCATION);
    let Answer::Begun(delete) = begin(Method::Delete, &both, Value::Null) else { panic!("begun") };
    assert_eq!(delete.result, None);
}

#[test]
fn without_headers_the_resource_itself_is_followed() {
    let busy = json!({"properties": {"provisioningState": "Updating"}});
    let Answer::Begun(put) = begin(Method::Put, &head(200, &[]), busy) else { panic!("begun") };
    assert_eq!((put.address.as_str(), put.follows), (DISK, Follows::Resource));
    let done = json!({"properties": {"provisioningState": "Succeeded"}});
    assert_eq!(begin(Method::Put, &head(200, &[]), done.clone()), Answer::Done(done));
    assert_eq!(begin(Method::Put, &head(201, &[]), json!({})), Answer::Done(json!({})));
    let Answer::Begun(gone) = begin(Method::Delete, &head(202, &[]), Value::Null) else {
        panic!("begun")
    };
    assert_eq!((gone.follows, gone.result), (Follows::Resource, None));
    assert!(gone.address.ends_with("?api-version=2024-03-02"));
    assert!(begun(&call(Method::Post), &head(202, &[]), Value::Null, &region()).is_err());
    assert_eq!(begin(Method::Delete, &head(204, &[]), Value::Null), Answer::Done(Value::Null));
}

#[test]
fn an_operation_elsewhere_is_refused() {
    for address in [
        "https://evil.example/operations/1",
        "https://evilmanagement.azure.com/operations/1",
        "https://management.azure.com.evil.example/operations/1",
        "https://management.azure.com@evil.example/1",
        "https://management.azure.com:444/1",
        "http://management.azure.com/1",
        "//management.azure.com/1",
        "/operations/1",
        "https://management.azure.com/a b",
        "",
    ] {
        for name in ["azure-asyncoperation", "location"] {
            let head = head(202, &[(name, address)]);
            let answer = begun(&call(Method::Post), &head, Value::Null, &region());
            assert!(answer.is_err(), "{name}: {address}: {answer:?}");
        }
        assert!(followed(address, &region()).is_err(), "{address}");
    }
    assert!(followed("https://westeurope.management.azure.com/1", &region()).is_ok());
    let loopback = Origin { https: false, authority: "127.0.0.1:8080".to_owned() };
    assert!(followed("http://127.0.0.1:8080/1", &loopback).is_ok());
    assert!(followed("http://a.127.0.0.1:8080/1", &loopback).is_err());
}

fn operation(follows: Follows, result: Option<&str>) -> Operation {
    let result = result.map(|path| ResultAt { path: path.to_owned(), api_version: "1".to_owned() });
    Operation { address: STATUS.to_owned(), follows, result, retry_after_s: 9 }
}

#[test]
fn a_status_runs_until_it_is_final() {
    let look = |body: Value, result| {
        seen(&operation(Follows::Status, result), &head(200, &[]), body).unwrap()
    };
    let running = Seen::Running(Duration::from_secs(9));
    assert_eq!(look(json!({"status": "InProgress"}), None), running);
    assert_eq!(look(json!({"status": "SomethingNew"}), None), running);
    assert_eq!(look(json!({"status": "succeeded"}), None), Seen::Done(Value::Null));
    let output = json!({"status": "Succeeded", "properties": {"output": {"accessSAS": "x"}}});
    assert_eq!(look(output, Some(DISK)), Seen::Done(json!({"accessSAS": "x"})));
    assert!(
        matches!(look(json!({"status": "Succeeded"}), Some(DISK)), Seen::Read(at) if at.path == DISK)
    );
    assert!(matches!(look(json!({"status": "Canceled"}), None), Seen::Failed(_)));
    let odd = seen(&operation(Follows::Status, None), &head(200, &[]), json!({}));
    assert!(odd.is_err());
}

#[test]
fn a_location_runs_while_it_answers_202_and_says_how_long_to_wait() {
    let place = operation(Follows::Location, None);
    let waiting = seen(&place, &head(202, &[("retry-after", "100000")]), Value::Null).unwrap();
    assert_eq!(waiting, Seen::Running(Duration::from_secs(300)));
    let at_once = seen(&place, &head(202, &[("retry-after", "0")]), Value::Null).unwrap();
    assert_eq!(at_once, Seen::Running(WAIT_MIN), "nobody asks without a pause");
    let done = seen(&place, &head(200, &[]), json!({"a": 1})).unwrap();
    assert_eq!(done, Seen::Done(json!({"a": 1})));
    let made =
        seen(&operation(Follows::Location, Some(DISK)), &head(200, &[]), Value::Null).unwrap();
    assert!(matches!(made, Seen::Read(_)));
}

#[test]
fn a_resource_runs_until_its_state_is_final_or_it_is_gone() {
    let state = |text: &str| json!({"properties": {"provisioningState": text}});
    let look = |text: &str, result| {
        seen(&operation(Follows::Resource, result), &head(200, &[]), state(text)).unwrap()
    };
    assert!(matches!(look("Creating", Some(DISK)), Seen::Running(_)));
    assert!(matches!(look("Failed", Some(DISK)), Seen::Failed(_)));
    assert_eq!(look("Succeeded", Some(DISK)), Seen::Done(state("Succeeded")));
    assert!(
        matches!(look("Succeeded", None), Seen::Running(_)),
        "it is to go away and is still there"
    );
}

#[test]
fn an_operation_survives_being_stored() {
    let kept = operation(Follows::Status, Some(DISK));
    let text = serde_json::to_string(&kept).unwrap();
    assert_eq!(serde_json::from_str::<Operation>(&text).unwrap(), kept);
}
