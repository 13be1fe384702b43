//! Archives made by cpio and the packers that distributions use, read; and ours, read by cpio.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::*;

fn folder(name: &str) -> PathBuf {
    let path =
        std::env::temp_dir().join(format!("lifeboat-initramfs-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn sh(script: &str, folder: &PathBuf) {
    let output = Command::new("sh").args(["-ec", script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

const TREE: &str = "mkdir -p early/kernel/x86/microcode main/usr/lib/modules/6.1.0/kernel/fs main/conf main/scripts
    echo code >early/kernel/x86/microcode/AuthenticAMD.bin
    ln -s usr/lib main/lib; echo ahci >main/conf/modules; : >main/scripts/functions; : >main/conf/initramfs.conf
    echo kernel/fs/ext4.ko >main/usr/lib/modules/6.1.0/modules.builtin
    head -c 300000 /dev/urandom >main/usr/lib/modules/6.1.0/kernel/fs/xfs.ko
    seq 200000 >main/large
    (cd early; find . | cpio -o -H newc --quiet >../early.cpio)
    (cd main; find . | cpio -o -H newc --quiet >../main.cpio)";

#[test]
fn what_every_packer_makes_is_read_behind_microcode_and_before_another() {
    let folder = folder("packers");
    sh(TREE, &folder);
    let mut more = Archive::default();
    more.file("usr/lib/modules/6.1.0/kernel/drivers/hv/hv_vmbus.ko", b"a module").unwrap();
    more.file("conf/modules", b"ahci\nhv_vmbus\n").unwrap();
    let more = more.finish();
    let packers = [
        ("plain", "cat"),
        ("gzip", "gzip -9"),
        ("gzip", "gzip -1 -n"),
        ("zstd", "zstd -q -19"),
        ("zstd", "zstd -q -1"),
        ("xz", "xz --check=crc32 -6"),
        ("lz4", "lz4 -l -9 -"),
    ];
    for (name, packer) in packers {
        if Command::new(packer.split(' ').next().unwrap()).arg("--version").output().is_err() {
            eprintln!("SKIPPED, not tested on this machine: {packer} is missing");
            continue;
        }
        sh(&format!("{packer} <main.cpio >packed"), &folder);
        let mut bytes = fs::read(folder.join("early.cpio")).unwrap();
        bytes.extend(fs::read(folder.join("packed")).unwrap());
        let before = bytes.len();
        bytes.resize((before + 4).next_multiple_of(4), 0);
        bytes.extend(&more);
        let contents =
            Contents::read(bytes.as_slice()).unwrap_or_else(|error| panic!("{packer}: {error}"));
        assert_eq!(contents.packed, ["plain", name, "plain"], "{packer}");
        assert_eq!(
            contents.text("conf/modules").as_deref(),
            Some("ahci\nhv_vmbus\n"),
            "the later one"
        );
        assert_eq!(
            contents.module_folders(),
            [("6.1.0".to_owned(), "usr/lib/modules/".to_owned())]
        );
        assert_eq!(contents.entries.get("lib"), Some(&Entry::Link("usr/lib".to_owned())));
        assert_eq!(contents.maker(), Maker::InitramfsTools);
        assert_eq!(
            contents.entries.get("large"),
            Some(&Entry::File(None)),
            "only what decides is kept"
        );
        assert!(contents.entries.contains_key("kernel/x86/microcode/AuthenticAMD.bin"));
        let alone = Contents::read(&bytes[..before]).unwrap();
        assert_eq!(alone.text("conf/modules").as_deref(), Some("ahci\n"));
        for cut in [before / 3, before / 2] {
            assert!(Contents::read(&bytes[..cut]).is_err(), "{packer}: cut at {cut} of {before}");
        }
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_is_written_cpio_unpacks() {
    let folder = folder("written");
    let mut archive = Archive::default();
    for (path, content) in [("a/b/c", "one"), ("a/b/d", ""), ("top", "three bytes more")] {
        archive.file(path, content.as_bytes()).unwrap();
    }
    fs::write(folder.join("ours"), archive.finish()).unwrap();
    sh(
        "mkdir out; cd out; cpio -idm --quiet <../ours; find . -type f -exec stat -c '%n %a %s' {} + | sort >../listed",
        &folder,
    );
    let listed = fs::read_to_string(folder.join("listed")).unwrap();
    assert_eq!(listed, "./a/b/c 644 3\n./a/b/d 644 0\n./top 644 16\n");
    assert_eq!(fs::read(folder.join("out/a/b/c")).unwrap(), b"one");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_is_not_known_is_named_and_hostile_bytes_end_in_errors() {
    use hal_sim::random::Random;
    let unknown = Contents::read(&b"BZh91AY&SY and so on"[..]).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Unsupported);
    let folder = folder("hostile");
    sh(
        &format!(
            "{TREE}\nhead -c 60000 main/large >main/l; mv main/l main/large; gzip <main.cpio >packed.gz; zstd -q main.cpio -o packed.zst; xz -k main.cpio"
        ),
        &folder,
    );
    let seed = 20_261_130;
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    for name in ["main.cpio", "packed.gz", "packed.zst", "main.cpio.xz"] {
        let good = fs::read(folder.join(name)).unwrap();
        for _ in 0..60 {
            let mut bad = good.clone();
            let near = random.below(2) == 0;
            let limit = if near { 400 } else { good.len() as u64 };
            bad[usize::try_from(random.below(limit)).unwrap()] =
                u8::try_from(random.below(256)).unwrap();
            // Whatever it is, it ends.
            let _ = Contents::read(bad.as_slice());
        }
    }
    // A name of four thousand million bytes, and a file of as many, are not made room for.
    for field in [11, 6] {
        let mut huge = fs::read(folder.join("main.cpio")).unwrap();
        huge[6 + field * 8..14 + field * 8].copy_from_slice(b"FFFFFFFF");
        assert!(Contents::read(huge.as_slice()).is_err());
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_unpacks_to_too_much_or_names_too_much_is_refused() {
    let budget = |unpacked, kept| Budget { unpacked, kept };
    let mut archive = Archive::default();
    archive.file("a/b", b"content").unwrap();
    let archive = archive.finish();
    Contents::read_within(archive.as_slice(), budget(2048, 2048)).unwrap();
    // Zeros behind it count, packed ones too.
    let mut long = archive.clone();
    long.resize(1 << 20, 0);
    let mut packed = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3];
    packed.extend(miniz_oxide::deflate::compress_to_vec(&long, 9));
    packed.extend([0; 8]);
    for bytes in [&long, &packed] {
        assert_eq!(
            Contents::read_within(bytes.as_slice(), budget(2 << 20, 2048)).unwrap().entries.len(),
            2
        );
        let error = Contents::read_within(bytes.as_slice(), budget(64 << 10, 2048)).unwrap_err();
        assert!(error.to_string().contains("unpacks to too much"), "{error}");
    }
    let error = Contents::read_within(archive.as_slice(), budget(2048, 10)).unwrap_err();
    assert!(error.to_string().contains("names and links"), "{error}");
    let many = archive.repeat(ARCHIVES_MAX + 1);
    let error = Contents::read(many.as_slice()).unwrap_err();
    assert!(error.to_string().contains("more archives"), "{error}");
    // A link whose target is longer than a path is no link that is remembered.
    let mut link = archive;
    let at = link.windows(8).position(|mode| mode == b"000081A4").unwrap();
    link[at..at + 8].copy_from_slice(b"0000A1FF");
    let found = Contents::read(link.as_slice()).unwrap();
    assert_eq!(found.entries.get("a/b"), Some(&Entry::Link("content".to_owned())));
}
