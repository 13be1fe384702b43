//! The agent comes as it lies there, and the script names it by its hash.

use core::net::SocketAddr;
use std::path::Path;

use super::*;

struct Kept(PathBuf);

impl Kept {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let name = format!("lifeboat-delivery-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn delivery(agent: Option<&Path>) -> Delivery {
    let identity = Identity::generate("bed").unwrap();
    Delivery::new(agent.map(Path::to_path_buf), &identity).unwrap()
}

fn get(delivery: &Delivery, path: &str, host: &str) -> Reply {
    assert_eq!(delivery.takes("GET", path), Some(0));
    delivery.answer(&Asked {
        method: "GET".to_owned(),
        path: path.to_owned(),
        host: host.to_owned(),
        peer: SocketAddr::from(([127, 0, 0, 1], 5)),
        body: Vec::new(),
    })
}

fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body.to_vec()).unwrap()
}

#[test]
fn the_agent_its_hash_and_the_script_agree() {
    let kept = Kept::new("whole", b"agent");
    let delivery = delivery(Some(&kept.0));
    let sha256 = "d4f0bc5a29de06b510f9aa428f1eedba926012b591fef7a518e776a7c9bd1824";
    let agent = get(&delivery, "/agent", "x");
    assert_eq!((agent.status, agent.body.as_slice()), (200, b"agent".as_slice()));
    assert!(agent.headers.contains(&("x-sha256", sha256.to_owned())));
    assert_eq!(text(&get(&delivery, "/agent.sha256", "x")), format!("{sha256}  lifeboat-agent\n"));
    let script = text(&get(&delivery, "/install.sh", "192.0.2.7:8443"));
    assert!(script.contains(&format!("sha256='{sha256}'")));
    assert!(script.contains("address='192.0.2.7:8443'"));
    assert!(script.contains(&format!("pin='{}'", delivery.pin)));
    assert!(script.contains("IOSchedulingClass=idle") && script.ends_with("main \"$@\"\n"));
    for place in ["@ADDRESS@", "@PIN@", "@SHA256@", "@UNIT@"] {
        assert!(SCRIPT.contains(place) && !script.contains(place), "{place}");
    }
}

#[test]
fn all_that_fetch_at_once_share_one_copy_and_none_stays() {
    let kept = Kept::new("shared", b"agent");
    let delivery = delivery(Some(&kept.0));
    let (one, two) = (get(&delivery, "/agent", "x"), get(&delivery, "/agent", "x"));
    assert!(Arc::ptr_eq(&one.body, &two.body));
    let weak = Arc::downgrade(&one.body);
    drop((one, two));
    assert!(weak.upgrade().is_none());
}

#[test]
fn no_agent_a_bad_one_and_a_host_that_is_code_are_told() {
    let none = get(&delivery(None), "/install.sh", "x");
    assert!(none.status == 404 && text(&none).contains("--agent FILE"));
    let missing = Path::new("/nowhere/agent");
    assert_eq!(get(&delivery(Some(missing)), "/agent", "x").status, 500);
    let empty = Kept::new("empty", b"");
    assert_eq!(get(&delivery(Some(&empty.0)), "/agent", "x").status, 500);
    let kept = Kept::new("host", b"agent");
    let delivery = delivery(Some(&kept.0));
    let long = "a".repeat(HOST_BYTES_MAX + 1);
    for host in ["", "a'; reboot; '", "a b", "$(reboot)", "a\nb", &long] {
        assert_eq!(get(&delivery, "/install.sh", host).status, 400, "{host:?}");
    }
    for (method, path) in [("POST", "/agent"), ("GET", "/agent/"), ("GET", "/")] {
        assert_eq!(delivery.takes(method, path), None);
    }
}

#[test]
fn the_line_pins_the_key_that_the_certificate_has() {
    let identity = Identity::generate("bed").unwrap();
    let delivery = Delivery::new(None, &identity).unwrap();
    let line = delivery.line("192.0.2.7", "ABC-DEF");
    assert!(line.contains(&format!("'sha256//{}'", key_pin(&identity).unwrap())), "{line}");
    assert!(line.ends_with("https://192.0.2.7/install.sh | sudo sh -s ABC-DEF"));
    assert_eq!(STANDARD.decode(&delivery.pin).unwrap().len(), 32);
}
