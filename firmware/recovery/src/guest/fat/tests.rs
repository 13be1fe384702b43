//! FAT made by mkfs.fat and mtools, and read back by them; hostile bytes.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::guest::view::memory::Memory;

fn image(name: &str, mib: u64) -> PathBuf {
    let path = std::env::temp_dir().join(format!("lifeboat-fat-{name}-{}", std::process::id()));
    std::fs::File::create(&path).unwrap().set_len(mib << 20).unwrap();
    run(Command::new("mkfs.fat").args(["-F", "32", "-s", "1", "-n", "ESP"]).arg(&path));
    run(Command::new("mmd").arg("-i").arg(&path).args(["::/EFI", "::/EFI/debian"]));
    path
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output.stdout
}

fn open(path: &Path) -> FatTree {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    FatTree::open(Arc::new(file)).unwrap()
}

#[test]
fn what_is_written_is_read_by_mtools_and_the_other_way() {
    let path = image("both", 40);
    let text: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let source = path.with_extension("file");
    std::fs::write(&source, &text).unwrap();
    run(Command::new("mcopy").arg("-i").arg(&path).arg(&source).arg("::/EFI/debian/grubx64.efi"));
    {
        let tree = open(&path);
        let tree: &dyn Tree = &tree;
        assert_eq!(tree.kind("efi/DEBIAN/GrubX64.efi").unwrap(), Some(Kind::File(800_000)));
        assert_eq!(tree.kind("EFI/BOOT").unwrap(), None);
        assert_eq!(tree.kind("EFI/BOOT/BOOTX64.EFI").unwrap(), None);
        assert_eq!(tree.list("EFI/nothing").unwrap(), [""; 0]);
        assert!(tree.read("EFI/debian/grubx64.efi", 1 << 20).unwrap().unwrap() == text);
        tree.make_folder("EFI/BOOT").unwrap();
        tree.make_folder("EFI/BOOT").unwrap();
        tree.write("EFI/BOOT/BOOTX64.EFI", &text, None).unwrap();
        tree.append("EFI/debian/grubx64.efi", b"behind").unwrap();
        tree.write("EFI/debian/a file with a long name.conf", b"text", None).unwrap();
        tree.write("EFI/debian/short.cfg", b"one two three", None).unwrap();
        tree.write("EFI/debian/short.cfg", b"one", None).unwrap();
        tree.write("EFI/debian/gone", b"x", None).unwrap();
        tree.remove("EFI/debian/gone").unwrap();
        assert_eq!(tree.list("EFI").unwrap(), ["BOOT", "debian"]);
    }
    let typed = |name: &str| run(Command::new("mtype").arg("-i").arg(&path).arg(name));
    assert!(typed("::/EFI/BOOT/BOOTX64.EFI") == text);
    assert!(typed("::/EFI/debian/grubx64.efi").ends_with(b"behind"));
    assert_eq!(typed("::/EFI/debian/a file with a long name.conf"), b"text");
    assert_eq!(typed("::/EFI/debian/short.cfg"), b"one");
    run(Command::new("fsck.fat").arg("-n").arg(&path));
    open(&path).truncate("EFI/debian/grubx64.efi", 800_000).unwrap();
    assert!(typed("::/EFI/debian/grubx64.efi") == text);
    run(Command::new("fsck.fat").arg("-n").arg(&path));
    std::fs::remove_file(path).unwrap();
    std::fs::remove_file(source).unwrap();
}

#[test]
fn a_full_one_says_so_and_what_was_there_stays() {
    let path = image("full", 36);
    let tree = open(&path);
    tree.write("a", &vec![1; 20 << 20], None).unwrap();
    let error = tree.append("a", &vec![2; 20 << 20]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert_eq!(tree.kind("a").unwrap(), Some(Kind::File(20 << 20)));
    drop(tree);
    run(Command::new("fsck.fat").arg("-n").arg(&path));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn hostile_bytes_end_in_errors() {
    let path = image("hostile", 36);
    let view = Arc::new(Memory::new(std::fs::read(&path).unwrap()));
    std::fs::remove_file(path).unwrap();
    // Every byte of the boot sector and of the first entries of the FAT, one at a time: hung or panicked it would not
    // end.
    let places = (0..90).chain(512 * 32..512 * 32 + 48);
    let mut opened = 0;
    for place in places {
        for value in [0, 1, 0x7F, 0xFF] {
            let good = core::mem::replace(&mut view.0.lock().unwrap()[place], value);
            if let Ok(tree) = FatTree::open(Arc::clone(&view) as Arc<dyn View>) {
                let _ = tree.list("EFI");
                let _ = tree.kind("EFI/debian/x");
                opened += 1;
            }
            view.0.lock().unwrap()[place] = good;
        }
    }
    assert!(opened > 100, "{opened} were opened: most bytes are no matter");
}
