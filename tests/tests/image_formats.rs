//! Every form of the image is what its format says, judged by other people's readers, and two builds in different
//! folders are the same, bit for bit.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use clap::Parser as _;
use image::build::{Made, development_keys, disks};
use image::cli::CommandLine;
use image::deb::Content;
use image::signing::Keys;
use image::{authenticode, deb, pe};
use image_layout::disk::{
    ESP_BYTES, ESP_NAME, ESP_OFFSET, IMAGE_BYTES, IMAGE_BYTES_MAX, SLOT_BYTES, STATE_NAME,
    STATE_OFFSET,
};
use image_layout::initrd;
use image_layout::modules::Index;
use tests::azurite::cache_folder;
use tests::program::{self, checked, lifeboat};

/// The keys for firmware.
#[path = "image_formats/keys.rs"]
mod keys;

/// What of a slot is to stay free: a month's changes.
const FREE_BYTES_LEAST: u64 = 256 << 10;

/// A finished build.
struct Built {
    out: PathBuf,
    made: Vec<Made>,
}

impl Built {
    fn path(&self, name: &str) -> PathBuf {
        self.out.join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("what was made can be read")
    }
}

/// Packages are downloaded once for all runs; everything that is made of them is made here, in `folder`.
fn build(folder: &Path) -> Built {
    let shared = cache_folder().expect("there is a cache").join("image");
    run(&["image", "fetch", "--quiet"], &shared);
    let cache = folder.join("cache");
    fs::create_dir_all(cache.join("packages")).expect("the target folder can be written");
    for package in fs::read_dir(shared.join("packages")).expect("the cache can be read").flatten() {
        let target = cache.join("packages").join(package.file_name());
        // The same file under a second name, where that is possible.
        fs::hard_link(package.path(), &target)
            .or_else(|_| fs::copy(package.path(), &target).map(drop))
            .expect("it is there");
    }
    let out = folder.join("out");
    let configuration = folder.join("lifeboat.toml");
    fs::write(&configuration, "role = \"capture\"\nname = \"test\"\n")
        .expect("the target folder can be written");
    let agent = program::built("lifeboat-agent");
    let line = CommandLine::parse_from([
        "image".as_ref(),
        "--fast".as_ref(),
        "--quiet".as_ref(),
        "--init".as_ref(),
        lifeboat().as_os_str(),
        "--agent".as_ref(),
        agent.as_os_str(),
        "--cache".as_ref(),
        cache.as_os_str(),
        "--out".as_ref(),
        out.as_os_str(),
        "--configuration".as_ref(),
        configuration.as_os_str(),
        "--microsoft".as_ref(),
        keys::microsofts().as_os_str(),
    ]);
    let made = disks(&line.disks).expect("the image builds");
    Built { out, made }
}

fn run(words: &[&str], cache: &Path) {
    let cache = cache.display().to_string();
    let words = words.iter().copied().chain(["--cache", &cache]);
    image::build::run(&CommandLine::parse_from(words)).expect("the packages are fetched");
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("image-{name}"));
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}

/// The build that this process looks at.
fn built(name: &str) -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| build(&folder(name)))
}

/// Output of somebody else's program; these are what `.ci/install test` installs.
fn tool(program: &str, arguments: &[&str]) -> String {
    let inner = PathBuf::from("/usr/sbin").join(program);
    let program = if inner.exists() { inner } else { PathBuf::from(program) };
    let output = Command::new(&program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; run .ci/install test", program.display()));
    checked(output, &program.display().to_string())
}

#[test]
fn every_form_is_read_by_others_as_the_same_disk() {
    let built = built("forms");
    let text = |name: &str| built.path(name).display().to_string();
    let raw = text("lifeboat-development.img");
    let bytes = built.read("lifeboat-development.img");
    assert_eq!(bytes.len() as u64, IMAGE_BYTES);
    assert!(bytes.len() as u64 <= IMAGE_BYTES_MAX);

    partitions_and_file_system(&raw, &bytes, &built.out);
    stick_and_cd(built, &raw);
    virtual_disks(built, &raw);
    slot_is_whole(built);
    bill(built);

    let sums = fs::read_to_string(built.path("SHA256SUMS")).expect("what was made can be read");
    let listed: Vec<&str> = sums.lines().filter_map(|line| line.split("  ").nth(1)).collect();
    let made: Vec<&str> = built.made.iter().map(|made| made.name.as_str()).collect();
    assert_eq!(listed, made);
    let checked =
        Command::new("sha256sum").arg("-c").arg("SHA256SUMS").current_dir(&built.out).output();
    self::checked(checked.expect("it is there"), "sha256sum");
    fs::remove_dir_all(built.out.parent().expect("the target folder can be written"))
        .expect("the target folder can be written");
}

fn partitions_and_file_system(raw: &str, bytes: &[u8], out: &Path) {
    let said = tool("sgdisk", &["-v", "-p", raw]);
    assert!(said.contains("No problems found") && said.contains("EF00"), "{said}");
    assert!(said.contains(ESP_NAME) && said.contains(STATE_NAME), "{said}");
    let esp = out.join("esp.img");
    let [start, end] =
        [ESP_OFFSET, ESP_OFFSET + ESP_BYTES].map(|at| usize::try_from(at).expect("offsets fit"));
    fs::write(&esp, &bytes[start..end]).expect("the target folder can be written");
    let esp = esp.display().to_string();
    let said = tool("fsck.fat", &["-vn", &esp]);
    // Thirteen files; every folder counts as one, the root too.
    assert!(said.contains("22 files"), "{said}");
    let said = tool("mdir", &["-i", &esp, "-/", "-b"]);
    for name in [
        "EFI/BOOT/BOOTX64.EFI",
        "EFI/Linux/lifeboat-a.efi",
        "loader/loader.conf",
        "lifeboat.toml",
        "EFI/Linux/lifeboat-b.new",
        "loader/keys/auto/PK.auth",
        "loader/keys/with-microsoft/db.auth",
    ] {
        assert!(said.contains(name), "{name}: {said}");
    }
    let state = usize::try_from(STATE_OFFSET).expect("offsets fit");
    assert!(bytes[state..state + 4096].iter().all(|&byte| byte == 0), "the state is empty");
}

fn stick_and_cd(built: &Built, raw: &str) {
    let iso = built.path("lifeboat-development.iso").display().to_string();
    let said = tool("sgdisk", &["-v", &iso]);
    assert!(said.contains("No problems found"), "{said}");
    let said = tool("xorriso", &["-indev", &iso, "-report_el_torito", "plain", "-find", "/"]);
    assert!(said.contains("UEFI") && said.contains("El Torito"), "{said}");
    // As a stick it is the same disk but for the gap where the CD's folders are.
    let (cd, disk) =
        (built.read("lifeboat-development.iso"), fs::read(raw).expect("what was made can be read"));
    let gap = 32 * 1024..usize::try_from(ESP_OFFSET).expect("offsets fit");
    assert_eq!(cd.len(), disk.len());
    assert!(cd[..gap.start] == disk[..gap.start] && cd[gap.end..] == disk[gap.end..]);
    // The CD's folders lead to the very same files.
    for (names, from) in
        [("norock", "/EFI/Linux/lifeboat-a.efi"), ("ecma119", "/EFI/LINUX/LIFEBOAA.EFI")]
    {
        let copy = built.path(&format!("copy-{names}"));
        let to = copy.display().to_string();
        let arguments =
            ["-read_fs", names, "-osirrox", "on", "-indev", &iso, "-extract", from, &to];
        tool("xorriso", &arguments);
        assert!(
            fs::read(&copy).expect("what was made can be read")
                == built.read("lifeboat-development.efi"),
            "{from}"
        );
    }
}

fn virtual_disks(built: &Built, raw: &str) {
    for (name, format) in
        [("lifeboat-development.qcow2", "qcow2"), ("lifeboat-development.vhd", "vpc")]
    {
        let path = built.path(name).display().to_string();
        let said = tool("qemu-img", &["compare", "-f", "raw", "-F", format, raw, &path]);
        assert!(said.contains("identical"), "{said}");
        let info = tool("qemu-img", &["info", "-f", format, "--output=json", &path]);
        assert!(info.contains(&format!("\"virtual-size\": {IMAGE_BYTES}")), "{info}");
    }
    let said = tool(
        "qemu-img",
        &["check", "-f", "qcow2", &built.path("lifeboat-development.qcow2").display().to_string()],
    );
    assert!(said.contains("No errors"), "{said}");
    let vhd = built.read("lifeboat-development.vhd");
    assert_eq!(
        vhd.len() as u64,
        IMAGE_BYTES + 512,
        "whole mebibytes and a footer, as Azure wants it"
    );

    let ova = built.path("lifeboat-development.ova").display().to_string();
    let unpacked = built.path("ova");
    fs::create_dir_all(&unpacked).expect("the target folder can be written");
    let said = tool("tar", &["-tf", &ova]);
    assert_eq!(said.lines().collect::<Vec<_>>(), ["lifeboat.ovf", "lifeboat.mf", "lifeboat.vmdk"]);
    tool("tar", &["-xf", &ova, "-C", &unpacked.display().to_string()]);
    let vmdk = unpacked.join("lifeboat.vmdk").display().to_string();
    let said = tool("qemu-img", &["compare", "-f", "raw", "-F", "vmdk", raw, &vmdk]);
    assert!(said.contains("identical"), "{said}");
    let sums = fs::read_to_string(unpacked.join("lifeboat.mf")).expect("what was made can be read");
    for line in sums.lines() {
        let (name, sum) = line.split_once(")= ").expect("a sum and a name");
        let bytes = fs::read(unpacked.join(name.trim_start_matches("SHA256(")))
            .expect("what was made can be read");
        assert_eq!(image::files::sha256(&bytes), sum, "{name}");
    }
    let parse = "import sys, xml.etree.ElementTree as t; print(t.parse(sys.argv[1]).getroot().tag)";
    let root =
        tool("python3", &["-c", parse, &unpacked.join("lifeboat.ovf").display().to_string()]);
    assert!(root.trim().ends_with("}Envelope"), "{root}");
}

/// What we signed, others find signed: the slot, the boot manager, and the lists of keys for firmware.
fn signatures(built: &Built) {
    let certificate = development_keys().join("boot.crt").display().to_string();
    let raw = format!("{}@@{ESP_OFFSET}", built.path("lifeboat-development.img").display());
    let manager = built.path("manager.efi").display().to_string();
    tool("mcopy", &["-i", &raw, "::EFI/BOOT/BOOTX64.EFI", &manager]);
    let slot = built.path("lifeboat-development.efi").display().to_string();
    for program in [&slot, &manager] {
        let said = tool("sbverify", &["--cert", &certificate, program]);
        assert!(said.contains("Signature verification OK"), "{said}");
        let said = tool("osslsigncode", &["verify", "-CAfile", &certificate, "-in", program]);
        assert!(said.contains("Signature verification: ok"), "{said}");
    }
    let tampered = built.path("tampered.efi");
    let mut bytes = fs::read(&slot).expect("what was made can be read");
    bytes[20_000_000] ^= 1;
    fs::write(&tampered, bytes).expect("the target folder can be written");
    let judged = Command::new("sbverify").args(["--cert", &certificate]).arg(&tampered).output();
    assert!(!judged.expect("it is there").status.success(), "a bit of the slot was changed");
    keys::are_what_they_should_be(built);
}

fn slot_is_whole(built: &Built) {
    let slot = built.read("lifeboat-development.efi");
    assert_eq!(slot.len() as u64, SLOT_BYTES, "every slot is equally long");
    let room = image::slot::room(&slot).expect("the slot has its parts");
    println!("{room:?}");
    let free = room.last().expect("the slot has its parts").1;
    assert!(
        free >= FREE_BYTES_LEAST,
        "a slot has {free} bytes free, and the next change wants {FREE_BYTES_LEAST}: see which part grew, of {room:?}; \
         take out of the program or of image/recipe.toml what nobody misses"
    );
    signatures(built);
    let said =
        tool("objdump", &["-h", &built.path("lifeboat-development.efi").display().to_string()]);
    for section in [".osrel", ".cmdline", ".uname", ".initrd", ".linux"] {
        assert!(said.contains(section), "{section}: {said}");
    }
    let sections = pe::sections(&slot).expect("the slot is a program of UEFI");
    let part = |name: &str| {
        sections.iter().find(|(has, _)| has == name).expect("the slot has the section").1
    };
    let line = String::from_utf8(part(".cmdline").to_vec()).expect("the command line is text");
    assert!(line.contains("console=ttyS0") && line.ends_with('\0'), "{line}");
    let archive = built.path("initrd.xz");
    fs::write(&archive, part(".initrd")).expect("the target folder can be written");
    let files = built.path("files");
    fs::create_dir_all(&files).expect("the target folder can be written");
    // The kernel reads one archive after the other; cpio is told to.
    let unpack = format!(
        "xz -dcq {} | (cd {} && cpio -id --quiet --no-absolute-filenames -- 'etc/*' 'lib/*' && cpio -id --quiet)",
        archive.display(),
        files.display()
    );
    tool("bash", &["-o", "pipefail", "-c", &unpack]);
    let inside = |path: &str| files.join(path.trim_start_matches('/'));
    let index =
        Index::parse(&fs::read(inside(initrd::MODULE_INDEX)).expect("what was made can be read"))
            .expect("what was made can be read");
    for name in
        ["nvme", "ahci", "megaraid_sas", "hv_storvsc", "vmw_pvscsi", "ice", "mlx5_core", "dm_mod"]
    {
        let module = &index.modules()[index.place(name).unwrap_or_else(|| panic!("{name}"))];
        let file = fs::read(inside(&format!("{}/{}", initrd::MODULES, module.file)))
            .expect("what was made can be read");
        assert!(file.starts_with(b"\x7fELF"), "{name}");
        assert!(file.ends_with(b"~Module signature appended~\n"), "{name} is signed by Debian");
    }
    // A disk of QEMU, by its modalias.
    let wanted = index.wanted("virtio:d00000002v00001AF4");
    assert_eq!(
        wanted.iter().map(|&place| index.modules()[place].name.as_str()).collect::<Vec<_>>(),
        ["virtio_blk"]
    );
    let bill = fs::read(inside(initrd::BILL)).expect("the image has its bill");
    assert!(
        bill == built.read("lifeboat-development.cdx.json"),
        "the bill inside is the one beside"
    );
    let version = tool(&inside(initrd::INIT).display().to_string(), &["--version"]);
    assert!(version.starts_with("lifeboat "), "{version}");
}

fn bill(built: &Built) {
    let bill: serde_json::Value =
        serde_json::from_slice(&built.read("lifeboat-development.cdx.json"))
            .expect("the bill is JSON");
    assert_eq!(
        (bill["bomFormat"].as_str(), bill["specVersion"].as_str()),
        (Some("CycloneDX"), Some("1.5"))
    );
    let components = bill["components"].as_array().expect("the bill has components");
    for name in ["systemd-boot-efi", "firmware-bnx2x", "rustls", "firmware"] {
        assert!(components.iter().any(|part| part["name"] == name), "{name}");
    }
    let kernels = components.iter().filter(|part| part["type"] == "operating-system");
    assert_eq!(kernels.count(), 1);
}

#[test]
fn a_token_signs_as_the_key_in_a_file_does() {
    let folder = folder("token");
    let keys = Keys::development(&folder.join("keys")).expect("keys can be made");
    let (tokens, settings) = (folder.join("tokens"), folder.join("softhsm2.conf"));
    fs::create_dir_all(&tokens).expect("the target folder can be written");
    let text = format!("directories.tokendir = {}\n", tokens.display());
    fs::write(&settings, text).expect("the target folder can be written");
    let key = folder.join("keys/boot.key");
    let softhsm = |words: &[&str]| {
        let mut command = Command::new("softhsm2-util");
        command.env("SOFTHSM2_CONF", &settings).args(words);
        checked(command.output().expect("softhsm2 is there"), "softhsm2-util")
    };
    softhsm(&["--init-token", "--free", "--label", "boot", "--so-pin", "1234", "--pin", "1234"]);
    let path = key.display().to_string();
    let import =
        ["--import", &path, "--token", "boot", "--label", "boot", "--id", "01", "--pin", "1234"];
    softhsm(&import);
    // As image/README.md has it.
    let script = format!(
        "#!/bin/sh\nexport SOFTHSM2_CONF={}\nf=$(mktemp); cat > \"$f\"; exec pkcs11-tool --module \
         /usr/lib/softhsm/libsofthsm2.so --login --pin 1234 --sign --mechanism SHA256-RSA-PKCS --id 01 \
         --input-file \"$f\" --output-file /dev/stdout 2>/dev/null\n",
        settings.display()
    );
    let program = folder.join("keys/boot.sign");
    fs::write(&program, script).expect("the target folder can be written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::remove_file(key).expect("it is ours");
    let token = Keys::read(&folder.join("keys")).expect("the program stands in for the key");
    let shared = cache_folder().expect("there is a cache").join("image");
    run(&["image", "fetch", "--quiet"], &shared);
    let manager = manager(&shared);
    let one = authenticode::sign("manager", &manager, &keys.boot).expect("it can be signed");
    let two = authenticode::sign("manager", &manager, &token.boot).expect("it can be signed");
    assert!(one == two);
    fs::remove_dir_all(folder).expect("the target folder can be written");
}

/// Debian's boot manager, out of its package.
fn manager(cache: &Path) -> Vec<u8> {
    let packages = fs::read_dir(cache.join("packages")).expect("it was fetched").flatten();
    let mut packages = packages.map(|entry| entry.path());
    let named = |path: &PathBuf| path.to_string_lossy().contains("systemd-boot-efi");
    let package = fs::read(packages.find(named).expect("it was fetched")).expect("it was fetched");
    let mut manager = None;
    let keep = |path: &str| path.ends_with("systemd-bootx64.efi");
    deb::unpack("systemd-boot-efi", &package, &keep, &mut |_, content| {
        if let Content::File(bytes) = content {
            manager = Some(bytes);
        }
        Ok(())
    })
    .unwrap_or_else(|error| panic!("{error}"));
    manager.expect("it is in its package")
}

#[test]
fn two_builds_in_different_folders_are_the_same_bit_for_bit() {
    let one = build(&folder("one"));
    let two = build(&folder("a longer name for the other"));
    // Slot and bill, two sets of six files of keys, five forms.
    assert_eq!(one.made.len(), 2 + 2 * 6 + 5, "{:?}", one.made);
    for (one, two) in one.made.iter().zip(&two.made) {
        assert_eq!(one, two);
    }
    for built in [one, two] {
        fs::remove_dir_all(built.out.parent().expect("the target folder can be written"))
            .expect("the target folder can be written");
    }
}
