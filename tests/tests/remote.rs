//! Promise: a verb that is run on an appliance elsewhere prints what it prints at home and ends as it ends there, for whoever may,
//! with the appliance's vault and key; nothing of the appliance's own can be named, and nothing is said to a stranger. Whatever else the
//! API has is one call away.
//!
//! The real `lifeboat serve`, set up by curl, and the real command line against it.

use core::time::Duration;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Output, Stdio};
use std::time::Instant;

use firmware_web::api::routes::{Route, all};
use serde_json::{Value, json};
use tests::azurite::Scratch;
use tests::paired::Paired;

const PROFILE: &str = "subscription = \"00000000-0000-0000-0000-000000000000\"\nlocation = \"westeurope\"\n\
    group = \"recovered\"\nnetwork = \"hub\"\nsubnet = \"servers\"\nsizes = [\"Standard_D4s_v5\"]\n";
const SHOP: &str = "name = \"shop\"\n[[group]]\nname = \"front\"\nafter = [{ wait = 30 }]\n[[group.server]]\nname = \"web1\"\n";

/// Verbs, and whether they take the vault. `TARGET` and `PLAN` stand for files.
const VERBS: &[(&[&str], bool)] = &[
    (&["points"], true),
    (&["points", "--server", "web1", "--json"], true),
    (&["points", "--server", "nobody"], true),
    (&["files", "--server", "web1", "--json"], true),
    (&["vault", "info", "--json"], true),
    (&["vault", "kit"], true),
    (&["vault", "kit", "--html"], true),
    (&["verify", "--deep"], true),
    (&["prune", "--keep", "72h", "--dry-run", "--json"], true),
    (&["server", "list", "--json"], true),
    (&["server", "policy", "web1"], true),
    (&["server", "revoke", "nobody"], true),
    (&["server", "accept", "nobody"], true),
    (&["server", "drain", "nobody", "--wait", "1s"], true),
    (&["target", "role", "--subscription", "1"], false),
    (&["target", "set", "--server", "web1", "--file", "TARGET"], true),
    (&["target", "show", "--server", "web1", "--json"], true),
    (&["plan", "create", "--file", "PLAN"], true),
    (&["plan", "show", "shop", "--json"], true),
    (&["plan", "continue", "shop"], true),
    (&["plan", "commit", "shop"], true),
    (&["plan", "report", "shop"], true),
    (&["failover", "--server", "web1", "--cancel"], true),
    (&["commit", "--server", "web1"], true),
    (&["net", "show", "--json"], false),
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_verb_elsewhere_prints_and_ends_as_it_does_at_home() {
    let scratch = Scratch::new("remote").expect("a folder");
    let bed = Paired::new(scratch.path(), &[]);
    let (target, plan) = (bed.folder.join("web1.toml"), bed.folder.join("shop.toml"));
    fs::write(&target, PROFILE).expect("a file");
    fs::write(&plan, SHOP).expect("a file");
    let (target, plan) = (target.display().to_string(), plan.display().to_string());
    for (words, with_vault) in VERBS {
        let named = |word: &&'static str| match *word {
            "TARGET" => target.clone(),
            "PLAN" => plan.clone(),
            word => word.to_owned(),
        };
        let words: Vec<String> = words.iter().map(named).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let words = &words[..];
        let (there, here) = (bed.remote("administrator", words), bed.home(words, *with_vault));
        assert_eq!(text(&there.stdout), text(&here.stdout), "{words:?}: {}", text(&there.stderr));
        assert_eq!(there.status.code(), here.status.code(), "{words:?}: {}", text(&there.stderr));
        assert_eq!(text(&there.stderr), text(&here.stderr), "{words:?}");
    }
    // What these print has the time in it, or fails for want of Azure: both the same way.
    for words in [
        &["ready", "--json"][..],
        &["drill", "--server", "web1", "--dry-run"],
        &["cleanup"],
        &["plan", "run", "shop", "--drill"],
    ] {
        let (there, here) = (bed.remote("administrator", words), bed.home(words, true));
        assert_eq!(
            there.status.code(),
            here.status.code(),
            "{words:?}: {} {}",
            text(&there.stderr),
            text(&here.stderr)
        );
        assert_eq!(there.stdout.is_empty(), here.stdout.is_empty(), "{words:?}");
    }
    let out = bed.folder.join("kit.txt");
    let out_text = out.display().to_string();
    let kit = bed.remote("viewer", &["vault", "kit", "--out", &out_text]);
    assert!(kit.status.success(), "{}", text(&kit.stderr));
    let at_home = text(&bed.home(&["vault", "kit"], true).stdout);
    assert_eq!(text(&fs::read(&out).expect("the kit")), at_home);
    let again = bed.remote("viewer", &["vault", "kit", "--out", &out_text]);
    assert_eq!(again.status.code(), Some(1), "a new file only: {}", text(&again.stderr));
    // A token of a server is made there too, and names the page's certificate.
    let token = bed.remote("operator", &["server", "token", "--page", &bed.address]);
    assert!(token.status.success(), "{}", text(&token.stderr));
    // Nothing is left of what was run, and the audit log says who ran what.
    let left = fs::read_dir(bed.folder.join("served")).expect("a folder").flatten();
    assert!(
        left.map(|entry| entry.file_name())
            .all(|name| !name.to_string_lossy().starts_with("verb-"))
    );
    let audit = bed.curl.get("/audit?limit=100").to_string();
    assert!(audit.contains("plan create") && audit.contains("token of ada"), "{audit}");
}

#[test]
fn each_role_may_what_it_may_and_nothing_of_the_appliances_own_is_named() {
    let scratch = Scratch::new("remote").expect("a folder");
    let bed = Paired::new(scratch.path(), &[]);
    for (role, words, code) in [
        ("viewer", &["verify"][..], 1),
        ("viewer", &["server", "token", "--page", "127.0.0.1:1"], 1),
        ("operator", &["prune", "--keep", "72h"], 1),
        ("operator", &["server", "revoke", "web1"], 1),
        ("operator", &["verify"], 0),
        ("viewer", &["points"], 0),
    ] {
        let ended = bed.remote(role, words);
        assert_eq!(ended.status.code(), Some(code), "{role} {words:?}: {}", text(&ended.stderr));
    }
    // Refused there, whatever the command line here would have said: asked without it.
    for (verb, arguments) in [
        (&["points"][..], &["--key-file", "/etc/shadow"][..]),
        (&["points"], &["--vault=dir:/other"]),
        (&["target", "set"], &["--server", "web1", "--file", "/etc/shadow"]),
        (&["drill"], &["--server", "web1", "--report", "/etc/cron.d/x"]),
        (&["restore"], &["--server", "web1", "--disk", "sda", "--to", "/etc/passwd"]),
        (&["vault", "ticket"], &["--server", "web1"]),
        (&["protect"], &["--server", "x", "/etc/shadow"]),
        (&["serve"], &[]),
    ] {
        let answered =
            bed.curl.ask("POST", "/verbs", Some(&json!({"verb": verb, "arguments": arguments})));
        assert_eq!(answered.status, 422, "{verb:?} {arguments:?}: {answered:?}");
        assert!(!answered.detail().is_empty());
    }
    let ended =
        bed.remote("administrator", &["restore", "--server", "web1", "--disk", "sda", "--to", "x"]);
    assert_eq!(ended.status.code(), Some(2), "{}", text(&ended.stderr));
}

/// The path of a route that reads, with something in its braces, and its query where it needs one.
fn filled(route: &Route, point: &str, job: &str) -> String {
    let of = |word: &'static str| match (word.starts_with('{'), route.id) {
        (true, "job") => job.to_owned(),
        (true, _) => "web1".to_owned(),
        (false, _) => word.to_owned(),
    };
    let path: Vec<String> = route.path.split('/').map(of).collect();
    let query = match route.id {
        "files" => format!("?server=web1&point={point}"),
        "fileContent" => format!("?server=web1&point={point}&disk=sda&volume=1&path=nothing"),
        "series" => "?figure=rpo&span_seconds=3600".to_owned(),
        "seen" => "?network=127.0.0.1%2F32".to_owned(),
        _ => String::new(),
    };
    path.join("/") + &query
}

/// The names in an answer, however it differs from one second to the next.
fn names(answer: &Value) -> Vec<String> {
    answer.as_object().map(|all| all.keys().cloned().collect()).unwrap_or_default()
}

/// Asks what the words say, as an administrator.
fn call(bed: &Paired, words: &[&str]) -> Output {
    bed.remote("administrator", &[&["call"], words].concat())
}

fn file(bed: &Paired, name: &str, text: &str) -> String {
    let path = bed.folder.join(name);
    fs::write(&path, text).expect("a file");
    path.display().to_string()
}

/// How many routes were answered well.
fn reads_everything(bed: &Paired) -> u32 {
    let points = bed.curl.get("/servers/web1/points");
    let point = points[0]["id"].as_str().expect("a point");
    let begun = call(bed, &["POST", "/vault/verify", "--file", &file(bed, "verify", "{}")]);
    assert!(begun.status.success(), "{}", text(&begun.stderr));
    let begun: Value = serde_json::from_slice(&begun.stdout).expect("JSON");
    let job = begun["id"].as_str().expect("a job");
    let mut answered = 0;
    for route in all().filter(|route| route.method == "GET" && route.id != "eventStream") {
        let path = filled(route, point, job);
        let ended = call(bed, &["GET", &path]);
        let said = format!("{path}: {} {}", text(&ended.stdout), text(&ended.stderr));
        if route.id == "metrics" {
            assert!(text(&ended.stdout).contains("lifeboat_"), "{said}");
            continue;
        }
        let by_curl = bed.curl.ask("GET", &path, None);
        let expected = match by_curl.status {
            200..=299 => 0,
            400 | 422 => 2,
            _ => 1,
        };
        assert_eq!(ended.status.code(), Some(expected), "{said} {by_curl:?}");
        if expected > 0 {
            assert!(text(&ended.stderr).contains(&by_curl.detail()), "{said} {by_curl:?}");
            continue;
        }
        answered += 1;
        if route.id == "supportBundle" {
            assert!(ended.stdout.starts_with(&[0x1f, 0x8b]), "{path}");
            continue;
        }
        let answer: Value = serde_json::from_slice(&ended.stdout).expect(&said);
        assert_eq!(names(&answer), names(&by_curl.json()), "{said}");
    }
    answered
}

/// Text, JSON, bytes; and what is refused, for what it is.
fn changes(bed: &Paired) {
    let plan = call(bed, &["PUT", "/plans/shop", "--file", &file(bed, "shop", SHOP)]);
    assert!(plan.status.success(), "{}", text(&plan.stderr));
    assert_eq!(bed.curl.get("/plans")[0]["name"], "shop");
    for (method, path, sent, code, said) in [
        ("PUT", "/plans/shop", "[[", 2, "plan shop"),
        ("PUT", "/vault/retention", r#"{"server":null,"keep":5}"#, 2, "(/keep)"),
        ("PUT", "/appliance/update", "LIFEBOAT", 1, "as it was installed"),
        ("POST", "/appliance", "{}", 1, ""),
    ] {
        let ended = call(bed, &[method, path, "--file", &file(bed, "sent", sent)]);
        assert_eq!(ended.status.code(), Some(code), "{path} {}", text(&ended.stderr));
        assert!(text(&ended.stderr).contains(said), "{path} {}", text(&ended.stderr));
    }
    let tokens = bed.curl.get("/tokens");
    let viewers = tokens.as_array().expect("tokens").iter().find(|it| it["name"] == "viewer");
    let id = viewers.and_then(|it| it["id"].as_str()).expect("an ID");
    let gone = call(bed, &["DELETE", &format!("/tokens/{id}")]);
    assert_eq!((gone.status.code(), gone.stdout.len()), (Some(0), 0), "{}", text(&gone.stderr));
}

#[test]
fn whatever_the_api_has_is_asked_from_the_command_line_with_the_rights_of_the_token() {
    let scratch = Scratch::new("remote").expect("a folder");
    let bed = Paired::new(scratch.path(), &[]);
    // It looks at its vault before it tells of servers.
    while bed.curl.get("/overview")["servers"] == json!([]) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let answered = reads_everything(&bed);
    assert!(answered > 20, "{answered}");
    // What has no end is told as it comes.
    let words = ["call", "GET", "/events/stream"];
    let mut events = bed.command("viewer", &bed.address, Some(&bed.fingerprint), &words);
    let mut events = events.stdout(Stdio::piped()).spawn().expect("it starts");
    let told = BufReader::new(events.stdout.take().expect("a pipe"));
    let mut told = told.lines().map_while(Result::ok);
    assert!(told.any(|line| line.starts_with("data: {")));
    events.kill().and_then(|()| events.wait()).expect("it ends");
    let refused = bed.remote("viewer", &["call", "GET", "/users"]);
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0));
    assert!(text(&refused.stderr).contains("takes the role administrator"));
    changes(&bed);
    assert_eq!(bed.remote("viewer", &["call", "GET", "/overview"]).status.code(), Some(1));
    // Nobody is asked where nobody is named.
    let at_home = bed.home(&["call", "GET", "/overview"], false);
    assert_eq!(at_home.status.code(), Some(2));
    assert!(text(&at_home.stderr).contains("--remote"), "{}", text(&at_home.stderr));
}

#[test]
fn nothing_is_said_to_a_stranger_and_a_token_that_was_ended_opens_nothing() {
    let scratch = Scratch::new("remote").expect("a folder");
    let bed = Paired::new(scratch.path(), &[]);
    let of = |fingerprint: Option<&str>| {
        let mut command = bed.command("viewer", &bed.address, fingerprint, &["points"]);
        command.output().expect("it starts")
    };
    assert!(of(Some(&bed.fingerprint)).status.success());
    let unknown = of(None);
    assert_eq!(unknown.status.code(), Some(1));
    let words = text(&unknown.stderr);
    assert!(words.contains(&format!("--fingerprint {}", bed.fingerprint)), "{words}");
    let wrong = of(Some(&"ab".repeat(32)));
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        text(&wrong.stderr).contains("another certificate")
            && text(&wrong.stderr).contains("nothing was sent")
    );
    // Somebody in between, with a certificate of his own, hears nothing of a token.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("a port").port();
    let heard = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        let mut said = Vec::new();
        let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
        let _ = stream.take(1 << 20).read_to_end(&mut said);
        said
    });
    let mut command =
        bed.command("viewer", &format!("127.0.0.1:{port}"), Some(&bed.fingerprint), &["points"]);
    assert_eq!(command.output().expect("it starts").status.code(), Some(1));
    let heard = text(&heard.join().expect("it ends"));
    assert!(!heard.contains("lbt_") && !heard.contains("authorization"));
    let id = bed
        .curl
        .get("/tokens")
        .as_array()
        .expect("a list")
        .iter()
        .find(|token| token["name"] == "viewer")
        .map(|token| token["id"].as_str().expect("an ID").to_owned());
    let ended = bed.curl.ask("DELETE", &format!("/tokens/{}", id.expect("the token")), None);
    assert!(ended.status < 300, "{ended:?}");
    let refused = of(Some(&bed.fingerprint));
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("token"), "{}", text(&refused.stderr));
}

/// Carries bytes to the appliance and back until it is told to cut.
fn between(to: String) -> (String, std::sync::mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("a port").to_string();
    let (cut, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (client, _) = listener.accept().expect("a client");
        let server = TcpStream::connect(to).expect("the appliance");
        let carry = |mut from: TcpStream, mut to: TcpStream| {
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(more @ 1..) = from.read(&mut bytes) {
                    if to.write_all(&bytes[..more]).is_err() {
                        return;
                    }
                }
            });
        };
        carry(client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
        carry(server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
        let _ = told.recv();
        let _ = client.shutdown(std::net::Shutdown::Both);
        let _ = server.shutdown(std::net::Shutdown::Both);
    });
    (address, cut)
}

/// Whether a verb with this word runs below the one that serves.
fn runs(serving: u32, word: &str) -> bool {
    let tasks = fs::read_dir(format!("/proc/{serving}/task")).into_iter().flatten().flatten();
    let children =
        tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let children: Vec<String> = children
        .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let line = |child: &String| fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
    children.iter().any(|child| text(&line(child)).split('\0').any(|said| said == word))
}

#[test]
fn a_verb_whose_listener_is_gone_is_asked_to_end_and_the_listener_says_that_it_does_not_know() {
    let scratch = Scratch::new("remote").expect("a folder");
    let bed = Paired::new(scratch.path(), &[]);
    // It waits for a host that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = silent.local_addr().expect("a port").to_string();
    let words = ["net", "test", "--host", &host, "--patience", "1h"];
    let (address, cut) = between(bed.address.clone());
    let command = &mut bed.command("operator", &address, Some(&bed.fingerprint), &words);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let until = Instant::now() + Duration::from_secs(60);
    while !runs(bed.serving.id(), &host) {
        assert!(Instant::now() < until, "the verb does not begin");
        std::thread::sleep(Duration::from_millis(50));
    }
    cut.send(()).expect("it is there");
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(1));
    let words = text(&ended.stderr);
    assert!(words.contains("was cut") && words.contains("not known"), "{words}");
    while runs(bed.serving.id(), &host) {
        assert!(Instant::now() < until, "the verb goes on although nobody listens");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_verb_whose_connection_breaks_before_its_first_word_is_not_said_not_to_have_begun() {
    let scratch = Scratch::new("remote").expect("a folder");
    let bed = Paired::new(scratch.path(), &[]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("a port").to_string();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    for (words, known) in [
        (&["points"][..], false),
        (&["approval", "grant", "abc"][..], false),
        (&["approval", "list"][..], true),
    ] {
        let ended = bed.command("operator", &address, Some(&bed.fingerprint), words).output();
        let ended = ended.expect("it starts");
        assert_eq!(ended.status.code(), Some(1));
        let told = text(&ended.stderr);
        assert_eq!(!told.contains("not known"), known, "{words:?}: {told}");
        assert!(told.contains("see whether the appliance runs") || !known, "{told}");
    }
}
