//! The client against a peer that follows a script: what is sent again, what is followed, what is refused.

use serde_json::json;

use super::super::id::Kind;
use super::super::{disk, group, machine};
use super::*;
use crate::cloud::COMMERCIAL;
use crate::test_world::{Script, Step, World as Held};
use crate::transport::failure::Kind as Broken;

const REGION: &str = "https://management.azure.com";

fn named(kind: Kind) -> ResourceId {
    let group = GroupId::new("00000000-0000-0000-0000-000000000001", "rg").unwrap();
    group.resource(kind, "ab").unwrap()
}

fn plane(steps: Vec<Step>) -> (Arc<Script>, Arc<Held>, ControlPlane) {
    plane_at(steps, None)
}

fn plane_at(steps: Vec<Step>, endpoint: Option<&str>) -> (Arc<Script>, Arc<Held>, ControlPlane) {
    let (script, world) = (Script::new(steps), Arc::new(Held::with_dice(0)));
    let bearer = Bearer::Given(Secret::new("token"));
    let transport = Arc::clone(&script) as Arc<dyn Transport>;
    let clock = Arc::clone(&world) as Arc<dyn Surroundings>;
    let policy = RetryPolicy::default();
    let plane = ControlPlane::open_over(COMMERCIAL, endpoint, bearer, policy, transport, clock);
    (script, world, plane.unwrap())
}

fn says(status: u16, headers: &[(&'static str, &str)], body: &Value) -> Step {
    let mut headers: Vec<(&str, String)> =
        headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    headers.push(("x-ms-request-id", "r".to_owned()));
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    Ok((status, headers, body))
}

fn broken() -> Step {
    Err(Failure::new(Broken::Broken, "the connection to management.azure.com broke"))
}

fn error(code: &str) -> Value {
    json!({"error": {"code": code, "message": "Words."}})
}

#[test]
fn a_call_carries_version_token_and_body() {
    let (script, _, plane) = plane(vec![says(200, &[], &json!({"name": "rg"}))]);
    let call = group::create(named(Kind::Disk).group(), "westeurope", &Default::default()).unwrap();
    assert_eq!(plane.call(&call), Ok(Answer::Done(json!({"name": "rg"}))));
    let sent = &script.sent()[0];
    assert_eq!((sent.origin.as_str(), sent.method), (REGION, "PUT"));
    assert_eq!(sent.target, format!("{}?api-version=2024-07-01", call.path));
    assert_eq!(sent.header("authorization"), Some("Bearer token"));
    assert_eq!(serde_json::from_slice::<Value>(&sent.body).unwrap(), call.body.unwrap());
}

#[test]
fn lost_replies_and_passing_faults_are_asked_again() {
    let view = json!({"statuses": []});
    let (script, world, plane) = plane(vec![
        broken(),
        says(503, &[("retry-after", "3")], &error("ServiceUnavailable")),
        says(429, &[("retry-after", "17")], &error("TooManyRequests")),
        says(200, &[], &view),
    ]);
    let began = world.elapsed();
    let call = machine::look(&named(Kind::Machine)).unwrap();
    assert_eq!(plane.call(&call), Ok(Answer::Done(view)));
    assert_eq!(script.sent().len(), 4);
    assert!(world.elapsed() - began >= Duration::from_secs(20), "it waits as long as Azure asks");
}

#[test]
fn a_wait_that_is_too_long_is_handed_to_the_caller_and_kept_by_all() {
    let throttled = says(429, &[("retry-after", "3000")], &error("TooManyRequests"));
    let (script, world, plane) = plane(vec![throttled, says(200, &[], &json!({}))]);
    let call = machine::look(&named(Kind::Machine)).unwrap();
    let refused = plane.call(&call).unwrap_err();
    assert_eq!((refused.why, refused.retry_after), (Why::Later, Some(Duration::from_secs(3000))));
    let again = plane.call(&call).unwrap_err();
    assert_eq!((again.why, script.sent().len()), (Why::Later, 1), "nobody asks before that");
    world.pause(Duration::from_secs(3000));
    assert!(plane.call(&call).is_ok());
}

#[test]
fn what_will_not_pass_is_refused_at_once() {
    let (script, _, plane) = plane(vec![says(409, &[], &error("SkuNotAvailable"))]);
    let refused = plane.call(&machine::start(&named(Kind::Machine)).unwrap()).unwrap_err();
    assert_eq!((refused.why, script.sent().len()), (Why::NoRoom, 1));
    assert!(refused.act.contains("machine «ab»"), "{refused}");
}

#[test]
fn what_is_gone_is_deleted() {
    for code in ["ResourceNotFound", "ResourceGroupNotFound"] {
        let (_, _, plane) = plane(vec![broken(), says(404, &[], &error(code))]);
        let call = group::remove(&named(Kind::Disk));
        assert_eq!(plane.call(&call), Ok(Answer::Done(Value::Null)));
    }
    let (_, _, unseen) = plane(vec![says(404, &[], &error("SubscriptionNotFound"))]);
    assert_eq!(unseen.call(&group::remove(&named(Kind::Disk))).unwrap_err().why, Why::Missing);
    let (_, _, plane) = plane(vec![says(404, &[], &error("ResourceNotFound"))]);
    assert_eq!(plane.call(&group::look_at(&named(Kind::Disk))).unwrap_err().why, Why::Missing);
}

#[test]
fn access_is_followed_to_the_signature() {
    let status = format!("{REGION}/operations/1?v=1");
    let place = format!("{REGION}/operations/1?monitor=true");
    let (script, _, plane) = plane(vec![
        says(202, &[("azure-asyncoperation", &status), ("location", &place)], &Value::Null),
        says(200, &[("retry-after", "2")], &json!({"status": "InProgress"})),
        says(200, &[], &json!({"status": "Succeeded"})),
        says(200, &[], &json!({"accessSAS": "https://md-1/a?sig=b"})),
    ]);
    let call = disk::begin_access(&named(Kind::Disk), disk::Access::Write, 60).unwrap();
    let Answer::Begun(operation) = plane.call(&call).unwrap() else { panic!("it begins") };
    assert_eq!(plane.look(&operation), Ok(Progress::Running(Duration::from_secs(2))));
    let Progress::Done(answer) = plane.look(&operation).unwrap() else { panic!("it is done") };
    assert_eq!(disk::signature(&answer).unwrap().expose(), "https://md-1/a?sig=b");
    assert_eq!(script.sent()[3].target, "/operations/1?monitor=true");
}

#[test]
fn a_failure_behind_the_answer_is_told_like_any_other() {
    let failed =
        json!({"status": "Failed", "error": {"code": "AllocationFailed", "message": "No room."}});
    let path = named(Kind::Machine).to_string();
    let operation = Operation {
        address: format!("{REGION}/operations/1"),
        follows: Follows::Status,
        result: Some(ResultAt { path, api_version: "2024-07-01".to_owned() }),
        retry_after_s: 1,
    };
    let (_, _, plane) = plane(vec![says(200, &[], &failed)]);
    let Ok(Progress::Failed(refused)) = plane.look(&operation) else { panic!("it has failed") };
    assert_eq!(refused.why, Why::NoRoom);
    assert!(refused.act.contains("machine «ab» in resource group «rg»"), "{refused}");
}

#[test]
fn an_operation_that_azure_has_forgotten_is_read_from_its_resource() {
    let path = named(Kind::Disk).to_string();
    let operation = Operation {
        address: format!("{REGION}/operations/1"),
        follows: Follows::Status,
        result: Some(ResultAt { path: path.clone(), api_version: "1".to_owned() }),
        retry_after_s: 1,
    };
    let made = json!({"properties": {"provisioningState": "Succeeded"}});
    let (script, _, plane) = plane(vec![says(404, &[], &error("NotFound")), says(200, &[], &made)]);
    assert_eq!(plane.look(&operation), Ok(Progress::Done(made)));
    assert_eq!(script.sent()[1].target, format!("{path}?api-version=1"));
}

#[test]
fn an_operation_of_another_host_gets_no_token() {
    let operation = |address: &str| Operation {
        address: address.to_owned(),
        follows: Follows::Status,
        result: None,
        retry_after_s: 1,
    };
    let (script, _, plane) = plane(vec![]);
    for address in ["https://evil.example/1", "http://management.azure.com/1", "operations/1"] {
        assert_eq!(plane.look(&operation(address)).unwrap_err().why, Why::Way, "{address}");
    }
    assert!(script.sent().is_empty());
}

#[test]
fn a_group_that_goes_away_is_gone_when_nobody_finds_it() {
    let busy = json!({"properties": {"provisioningState": "Deleting"}});
    let (_, _, plane) = plane(vec![
        says(202, &[], &Value::Null),
        says(200, &[], &busy),
        says(404, &[], &error("ResourceGroupNotFound")),
    ]);
    let call = group::delete(named(Kind::Disk).group());
    let Answer::Begun(operation) = plane.call(&call).unwrap() else { panic!("it begins") };
    assert!(matches!(plane.look(&operation), Ok(Progress::Running(_))));
    assert_eq!(plane.look(&operation), Ok(Progress::Done(Value::Null)));
}

#[test]
fn a_list_comes_whole_and_only_from_the_region() {
    let page = |items: &[u32], next: &str| json!({"value": items, "nextLink": next});
    let next = format!("{REGION}/list?$skiptoken=x");
    let (script, _, plane_) =
        plane(vec![says(200, &[], &page(&[1, 2], &next)), says(200, &[], &json!({"value": [3]}))]);
    let call = group::resources(named(Kind::Disk).group(), "lifeboat", "x");
    let Answer::Done(list) = plane_.call(&call).unwrap() else { panic!("it is done") };
    assert_eq!(list["value"], json!([1, 2, 3]));
    assert_eq!(script.sent()[1].target, "/list?$skiptoken=x");
    let (script, _, plane_) = plane(vec![says(200, &[], &page(&[1], "https://evil.example/list"))]);
    assert_eq!(plane_.call(&call).unwrap_err().why, Why::Way);
    assert_eq!(script.sent().len(), 1);
}

#[test]
fn a_login_page_and_an_endpoint_without_tls_are_refused() {
    let page = Ok((200, vec![("x-ms-request-id", "r".to_owned())], b"<html>".to_vec()));
    let (_, _, plane) = plane(vec![page]);
    assert_eq!(plane.call(&group::look(named(Kind::Disk).group())).unwrap_err().why, Why::Way);
    let open = |endpoint: &str| {
        let (script, world) = (Script::new(vec![]), Arc::new(Held::with_dice(0)));
        let bearer = Bearer::Given(Secret::new("token"));
        ControlPlane::open_over(
            COMMERCIAL,
            Some(endpoint),
            bearer,
            RetryPolicy::default(),
            script,
            world,
        )
    };
    assert!(open("http://stand-in.example").is_err());
    assert!(open("https://stand-in.example/path").is_err());
    assert!(open("http://127.0.0.1:8080").is_ok());
}

#[test]
fn what_a_signature_shows_is_read_without_the_token() {
    let (script, _, plane) = plane(vec![broken(), says(200, &[], &json!("console"))]);
    let link = Secret::new("https://shows.blob.core.windows.net/a/log?sig=b");
    assert_eq!(plane.read(&link, 4), Ok(b"\"con".to_vec()));
    let sent = &script.sent()[1];
    assert_eq!(sent.target, "/a/log?sig=b");
    assert_eq!(sent.header("authorization"), None);
}

/// A client that asks for tokens with a secret.
fn identified(steps: Vec<Step>) -> (Arc<Script>, ControlPlane) {
    let script = Script::new(steps);
    let set = |name: &str| match name {
        "AZURE_TENANT_ID" | "AZURE_CLIENT_ID" | "AZURE_CLIENT_SECRET" => Some(name.to_lowercase()),
        _ => None,
    };
    let bearer = Bearer::Identity(Credentials::identity(COMMERCIAL, &set).unwrap());
    let (world, policy) = (Arc::new(Held::with_dice(0)), RetryPolicy::default());
    let transport = Arc::clone(&script) as Arc<dyn Transport>;
    let plane = ControlPlane::open_over(COMMERCIAL, None, bearer, policy, transport, world);
    (script, plane.unwrap())
}

#[test]
fn a_token_is_asked_for_the_management_plane_kept_and_renewed_once_when_refused() {
    let token = |text: &str| says(200, &[], &json!({"access_token": text, "expires_in": 3600}));
    let stale = || says(401, &[], &error("ExpiredAuthenticationToken"));
    let (script, plane) = identified(vec![
        token("first"),
        says(200, &[], &json!({})),
        stale(),
        token("second"),
        says(200, &[], &json!({})),
        stale(),
        token("third"),
        stale(),
    ]);
    let call = group::look(named(Kind::Disk).group());
    assert!(plane.call(&call).is_ok() && plane.call(&call).is_ok());
    assert_eq!(plane.call(&call).unwrap_err().why, Why::Denied, "a second refusal counts");
    let sent = script.sent();
    assert_eq!(sent[0].origin, "https://login.microsoftonline.com");
    let form = String::from_utf8(sent[0].body.clone()).unwrap();
    assert!(form.contains("scope=https%3A%2F%2Fmanagement.azure.com%2F.default"), "{form}");
    let carried: Vec<_> = sent.iter().filter_map(|sent| sent.header("authorization")).collect();
    assert_eq!(
        carried,
        ["Bearer first", "Bearer first", "Bearer second", "Bearer second", "Bearer third"]
    );
}

#[test]
fn without_an_identity_it_says_that_a_storage_key_will_not_do() {
    let nobody = || Err(Failure::new(Broken::Connect, "169.254.169.254 does not answer"));
    let script = Script::new(vec![nobody(), nobody()]);
    let set = |name: &str| (name == "AZURE_STORAGE_KEY").then(|| "a2V5".to_owned());
    let bearer = Bearer::Identity(Credentials::identity(COMMERCIAL, &set).unwrap());
    let (world, policy) = (Arc::new(Held::with_dice(0)), RetryPolicy::default());
    let plane = ControlPlane::open_over(COMMERCIAL, None, bearer, policy, script, world).unwrap();
    let refused = plane.call(&group::look(named(Kind::Disk).group())).unwrap_err();
    assert!(refused.words.contains("open its storage only"), "{refused}");
    assert!(!refused.words.contains("AZURE_STORAGE_KEY"), "{refused}");
}

#[test]
fn the_environment_names_another_control_plane_and_a_token() {
    let set = |name: &str| match name {
        "LIFEBOAT_AZURE_MANAGEMENT" => Some("http://127.0.0.1:1".to_owned()),
        "LIFEBOAT_AZURE_TOKEN" => Some(" given ".to_owned()),
        _ => None,
    };
    let plane = ControlPlane::from_lookup(COMMERCIAL, &set).unwrap();
    assert_eq!(plane.origin.to_string(), "http://127.0.0.1:1");
    assert!(matches!(&plane.bearer, Bearer::Given(token) if token.expose() == "given"));
    assert!(!format!("{plane:?}").contains("given"));
}
