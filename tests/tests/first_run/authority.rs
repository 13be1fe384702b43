//! A vault for whose host only an authority of one's own vouches.

use tests::azurite::run;

use super::*;

/// What openssl says of a certificate: `AB:CD:...`.
fn fingerprint(certificate: &Path) -> String {
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(certificate);
    let said = run(&mut openssl).expect("a fingerprint");
    said.trim().rsplit('=').next().expect("what stands behind the sign").to_owned()
}

/// Seen to fail where the authority is not laid out (no TLS in the test), not kept (nobody is let in behind the new start), or
/// not handed to what opens the vault (the agent's point is never there).
#[test]
fn a_vault_that_an_authority_of_ones_own_vouches_for_is_tested_used_and_found_again() {
    let certificates = Certificates::make(&[]).expect("certificates");
    let azurite = Azurite::start_https(&certificates.server());
    let azurite = azurite.unwrap_or_else(|error| panic!("{error}"));
    let scratch = Scratch::new("first-run-authority").expect("a scratch folder");
    let mut fresh = Fresh::new(scratch.path());
    let agents = free_port().expect("a port");
    fresh.agents = Some(agents);
    fresh.reach_the_vault();
    let asked = |authority: &str| {
        let credential = json!({"kind": "account_key", "value": KEY});
        json!({"place": azurite.vault("site"), "credential": credential, "authority": authority})
    };
    let made = |authority: &str| {
        let mut asked = asked(authority);
        asked["how"] = json!("new");
        asked
    };
    let test = |authority: &str| fresh.curl.change("POST", "/setup/vault/test", &asked(authority));
    let tested = test("");
    assert_eq!((&tested["good"], stands(&tested, "tls").as_str()), (&json!(false), "bad"));
    let shown = fingerprint(&certificates.server().certificate);
    assert!(tested["rows"].to_string().contains(&shown), "{shown} is not in {tested}");
    let place = |body: &Value| fresh.refused("POST", "/setup/vault", body);
    assert_eq!(place(&made("")), (422, "/authority".to_owned()), "who is a stranger");
    let stranger = Certificates::make(&[]).expect("certificates");
    let read = |path: PathBuf| fs::read_to_string(path).expect("a file");
    assert_eq!(place(&made(&read(stranger.ca()))), (422, "/authority".to_owned()), "another one");
    assert_eq!(place(&made("no PEM")), (422, "/authority".to_owned()));
    let folder = json!({"place": "dir:/srv/v", "authority": read(certificates.ca()), "how": "new"});
    assert_eq!(place(&folder), (422, "/authority".to_owned()), "a folder shows no certificate");
    let authority = read(certificates.ca());
    let tested = test(&authority);
    assert_eq!((&tested["good"], stands(&tested, "tls").as_str()), (&json!(true), "good"));
    let key = letters(&fresh.curl.change("POST", "/setup/vault", &made(&authority))["key"]);
    fresh.kill_and_go_on();
    fresh.curl.change("POST", "/setup/key", &json!({"typed": key.concat()}));
    fresh.curl.change("PUT", "/setup/time", &time());
    fresh.kill_and_go_on();
    fresh.await_line("Agents connect to ");
    let set = fresh.curl.get("/setup")["set"]["vault"].clone();
    assert!(set["credential"].as_str().is_some_and(|said| said.contains("authority")), "{set}");
    let line = fresh.curl.change("POST", "/install", &json!({"name": "web1"}))["line"].clone();
    let token = token_of(line.as_str().expect("a line"));
    let mut agent = ScriptedAgent::enrol(&token, "web1", DISK, 11).expect("it is let in");
    agent.connect_patiently();
    agent.write_some(8);
    let cut = agent.cut();
    agent.work_until("the first point", |agent| agent.vaulted >= cut);
    agent.hang_up();
    // A verb in a process of its own goes the same way.
    let job = fresh.curl.change("POST", "/vault/verify", &json!({"deep": false}));
    let job = format!("/jobs/{}", job["id"].as_str().expect("a job"));
    let ended = (0..240).any(|_| {
        std::thread::sleep(Duration::from_millis(250));
        fresh.curl.get(&job)["state"] != json!("running")
    });
    assert!(ended, "it ends");
    assert_eq!(fresh.curl.get(&job)["state"], json!("done"), "{}", fresh.curl.get(&job));
    let left = fs::read_dir(scratch.path().join("state/secrets")).expect("a folder");
    let left: Vec<String> =
        left.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(!left.iter().any(|name| name.contains("trial")), "nothing of a trial stays: {left:?}");
}
