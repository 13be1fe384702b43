//! The keys that a firmware is given, with Microsoft's certificates and without, as other people's programs read them: which
//! certificates are in each list, whose signature lets it in, and that the medium has the same.

use std::fs;
use std::path::Path;

use image::build::development_keys;
use image_layout::disk::ESP_OFFSET;
use image_layout::esp::{KEYS_FOLDER, KEYS_WITH_MICROSOFT_FOLDER};
use tests::guest::virt_firmware;

use super::{Built, tool};

/// Of each list: whose certificate of ours is in it, whose signature lets it in, and which of Microsoft's are in it too.
const LISTS: [(&str, &str, &str, &[&str]); 3] = [
    ("PK", "platform", "platform", &[]),
    ("KEK", "exchange", "platform", &["ms-kek-2011", "ms-kek-2023"]),
    (
        "db",
        "boot",
        "exchange",
        &["ms-uefi-2011", "ms-uefi-2023", "ms-uefi-rom-2023", "windows-2011", "windows-2023"],
    ),
];
/// Parts a signed list, by the specification (UEFI 2.10, 8.2.2): a time of 16 bytes, a head of 24, SignedData, the list. Leaves
/// what was signed, and the signature in the frame that openssl wants.
const PART: &str = r#"
import struct, sys, uuid
name, vendor, path, data, signature = sys.argv[1:]
whole = open(path, "rb").read()
length, revision, kind = struct.unpack_from("<IHH", whole, 16)
assert (revision, kind) == (0x200, 0xef1), (revision, kind)
assert uuid.UUID(bytes_le=whole[24:40]) == uuid.UUID("4aafd29d-68df-49ee-8aa9-347d375665a7")
inner, rest = whole[40:16 + length], whole[16 + length:]
said = name.encode("utf-16-le") + uuid.UUID(vendor).bytes_le + struct.pack("<I", 0x27) + whole[:16] + rest
open(data, "wb").write(said)
def wrap(tag, body):
    size = len(body).to_bytes(4, "big")
    return bytes([tag, 0x84]) + size + body
if inner[4] == 2:
    inner = wrap(0x30, bytes.fromhex("06092a864886f70d010702") + wrap(0xa0, inner))
open(signature, "wb").write(inner)
sys.stdout.write(rest.hex())
"#;

/// Microsoft's certificates, as `virt-firmware` has them.
pub(super) fn microsofts() -> std::path::PathBuf {
    let python = virt_firmware().unwrap_or_else(|error| panic!("{error}"));
    python.join("virt/firmware/certs/microsoft.com")
}

pub(super) fn are_what_they_should_be(built: &Built) {
    for (folder, on_medium, theirs) in
        [("keys", KEYS_FOLDER, false), ("keys-with-microsoft", KEYS_WITH_MICROSOFT_FOLDER, true)]
    {
        for (list, ours, signer, more) in LISTS {
            let stem = format!("{folder}/{list}");
            let mut wanted = vec![fingerprint(&development_keys().join(format!("{ours}.crt")))];
            let more = more.iter().filter(|_| theirs);
            wanted.extend(more.map(|name| fingerprint(&microsofts().join(format!("{name}.pem")))));
            assert_eq!(held(built, &stem), wanted, "{stem}");
            is_signed(built, list, &stem, &development_keys().join(format!("{signer}.crt")));
            let raw = format!("{}@@{ESP_OFFSET}", built.path("lifeboat-development.img").display());
            let copy = built.path("from-the-medium.auth").display().to_string();
            tool("mcopy", &["-o", "-i", &raw, &format!("::{on_medium}/{list}.auth"), &copy]);
            let beside = built.read(&format!("{stem}.auth"));
            assert!(fs::read(&copy).expect("it was copied") == beside, "{stem}");
        }
    }
}

/// SHA-256 of a certificate, DER or PEM.
fn fingerprint(path: &Path) -> String {
    let path = path.display().to_string();
    tool("openssl", &["x509", "-in", &path, "-noout", "-fingerprint", "-sha256"])
}

/// The certificates in a list, in their order, by efitools.
fn held(built: &Built, stem: &str) -> Vec<String> {
    let out = built.path(&format!("{stem}-certificate"));
    let list = built.path(&format!("{stem}.esl"));
    tool("sig-list-to-certs", &[&list.display().to_string(), &out.display().to_string()]);
    let path = |number: usize| built.path(&format!("{stem}-certificate-{number}.der"));
    (0..).map(path).take_while(|path| path.exists()).map(|path| fingerprint(&path)).collect()
}

/// The signature that lets a list in is of this key, over this list, by openssl; and of no other key.
fn is_signed(built: &Built, list: &str, stem: &str, signer: &Path) {
    let vendor = match list {
        "db" => "d719b2cb-3d3a-4674-a3bc-dad00e67656f",
        _ => "8be4df61-93ca-11d2-aa0d-00e098032b8c",
    };
    let path = |end: &str| built.path(&format!("{stem}.{end}")).display().to_string();
    let (data, signature) = (path("data"), path("p7"));
    let rest = tool("python3", &["-c", PART, list, vendor, &path("auth"), &data, &signature]);
    let bytes = built.read(&format!("{stem}.esl"));
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(rest, hex, "{stem}: another list is signed than lies beside it");
    let verify = |certificate: &Path| {
        let mut command = std::process::Command::new("openssl");
        command.args(["smime", "-verify", "-binary", "-inform", "DER", "-in", &signature]);
        command.args(["-content", &data, "-noverify", "-nointern", "-certfile"]);
        command.arg(certificate).args(["-out", "/dev/null"]).output().expect("openssl is there")
    };
    let said = verify(signer);
    assert!(said.status.success(), "{stem}: {}", String::from_utf8_lossy(&said.stderr));
    let another = microsofts().join("ms-kek-2011.pem");
    assert!(!verify(&another).status.success(), "{stem}: anybody's certificate is taken");
}
