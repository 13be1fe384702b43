//! Servers made of files: their sysfs, /proc and device nodes, as real ones were seen to have them.

use std::os::unix::fs::symlink;
use std::{env, fs, process};

use super::*;

struct Server {
    root: PathBuf,
    next_minor: u32,
}

impl Server {
    fn new(name: &str) -> Self {
        let root = env::temp_dir().join(format!("agent-server-{}-{name}", process::id()));
        fs::create_dir_all(&root).unwrap();
        let server = Self { root: fs::canonicalize(root).unwrap(), next_minor: 0 };
        for folder in ["sys/block", "sys/class/block", "sys/dev/block", "proc/self", "dev/mapper"] {
            fs::create_dir_all(server.root.join(folder)).unwrap();
        }
        server
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A whole device below `sys/devices`, its links and node; its folder there.
    fn device(&mut self, folder: &str) -> String {
        let place = self.bare(folder);
        let name = folder.rsplit('/').next().unwrap();
        symlink(self.root.join(&place), self.root.join("sys/block").join(name)).unwrap();
        self.write(&format!("{place}/queue/iostats"), "1\n");
        self.write(&format!("{place}/queue/logical_block_size"), "512\n");
        for folder in ["slaves", "holders"] {
            fs::create_dir_all(self.root.join(&place).join(folder)).unwrap();
        }
        place
    }

    /// A disk with requests.
    fn disk(&mut self, folder: &str) -> String {
        let place = self.device(folder);
        fs::create_dir_all(self.root.join(&place).join("mq/0")).unwrap();
        place
    }

    fn partition(&mut self, disk: &str, name: &str) -> String {
        let place = self.bare(&format!("{}/{name}", disk.strip_prefix("sys/devices/").unwrap()));
        self.write(&format!("{place}/partition"), "1");
        place
    }

    fn bare(&mut self, folder: &str) -> String {
        self.next_minor += 1;
        let place = format!("sys/devices/{folder}");
        let number = format!("8:{}", self.next_minor);
        self.write(&format!("{place}/dev"), &number);
        self.write(&format!("{place}/size"), "204800\n");
        let name = folder.rsplit('/').next().unwrap();
        let target = self.root.join(&place);
        symlink(&target, self.root.join("sys/class/block").join(name)).unwrap();
        symlink(&target, self.root.join("sys/dev/block").join(&number)).unwrap();
        self.write(&format!("dev/{}", name.replace('!', "/")), "");
        place
    }

    /// Says that `upper` stands on `lower`.
    fn stack(&self, upper: &str, lower: &str) {
        let name = |place: &str| place.rsplit('/').next().unwrap().to_owned();
        self.write(&format!("{upper}/slaves/{}/x", name(lower)), "");
        self.write(&format!("{lower}/holders/{}/x", name(upper)), "");
    }

    fn number(&self, place: &str) -> String {
        fs::read_to_string(self.root.join(place).join("dev")).unwrap()
    }

    /// Lines of mountinfo: device, where, kind, source, options of the file system.
    fn mounts(&self, lines: &[(&str, &str, &str, &str, &str)]) {
        let text: String = (20..)
            .zip(lines)
            .map(|(id, (number, at, kind, source, options))| {
                format!("{id} 1 {number} / {at} rw,relatime shared:1 - {kind} {source} {options}\n")
            })
            .collect();
        self.write("proc/self/mountinfo", &text);
    }

    fn names(&self) -> Vec<String> {
        leaves_under(&self.root).into_iter().map(|leaf| leaf.name).collect()
    }

    /// Where each file system is mounted, and its leaves.
    fn frozen(&self) -> Vec<(String, Vec<String>)> {
        let systems = file_systems_under(&self.root).into_iter();
        systems.map(|system| (system.at.display().to_string(), system.leaves)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

#[test]
fn leaves_are_the_disks_with_data_of_their_own() {
    let mut server = Server::new("leaves");
    let sda = server.disk("pci/ata1/block/sda");
    server.write(&format!("{sda}/device/wwid"), "naa.5000\n");
    let sda1 = server.partition(&sda, "sda1");
    server.disk("pci/ata2/block/sdaa");
    server.disk("pci/ata2/block/sdb");
    server.disk("pci/virtio1/block/vda");
    for name in ["loop0", "ram0", "zram0", "sr0", "fd0", "nbd0", "md127"] {
        server.disk(&format!("virtual/block/{name}"));
    }
    let lv = server.device("virtual/block/dm-0");
    server.stack(&lv, &sda1);
    let empty = server.disk("pci/usb/block/sdc");
    server.write(&format!("{empty}/size"), "0\n");
    assert_eq!(server.names(), ["sda", "sdb", "vda", "sdaa"]);
    let leaf = leaves_under(&server.root).remove(0);
    assert_eq!((leaf.number, leaf.bytes, leaf.sector_bytes), ((8, 1), 204_800 * 512, 512));
    assert_eq!((leaf.identity.as_str(), leaf.path), ("wwn=naa.5000", PathBuf::from("/dev/sda")));
    assert_eq!(leaf.untracked, None);
    assert_eq!(leaves_under(Path::new("/nowhere")), []);
}

#[test]
fn what_cannot_be_tracked_says_why() {
    let mut server = Server::new("untracked");
    server.device("virtual/block/pmem0");
    let quiet = server.disk("pci/block/sda");
    server.write(&format!("{quiet}/queue/iostats"), "0\n");
    let zones = server.disk("pci/block/sdb");
    server.write(&format!("{zones}/queue/zoned"), "host-managed\n");
    let words: Vec<String> =
        leaves_under(&server.root).into_iter().map(|leaf| leaf.untracked.unwrap()).collect();
    let said = ["iostats", "zones", "no requests"];
    assert!(words.iter().zip(said).all(|(words, said)| words.contains(said)), "{words:?}");
}

#[test]
fn paths_of_one_disk_are_one_leaf() {
    let mut server = Server::new("paths");
    let head = server.device("virtual/nvme-subsystem/nvme-subsys1/nvme1n1");
    // As on older kernels: the paths count, and the disk that stands for them does not.
    server.write(&format!("{head}/queue/iostats"), "0\n");
    server.device("virtual/nvme-subsystem/nvme-subsys1/nvme1n2");
    for path in ["nvme1c0n1", "nvme1c10n1", "nvme1c0n2", "nvme11c0n1"] {
        let place = server.disk(&format!("pci/nvme/{path}"));
        server.write(&format!("{place}/hidden"), "1\n");
    }
    let (sda, sdb) = (server.disk("pci/fc1/block/sda"), server.disk("pci/fc2/block/sdb"));
    let map = server.disk("virtual/block/dm-3");
    server.write(&format!("{map}/dm/uuid"), "mpath-3600\n");
    server.stack(&map, &sda);
    server.stack(&map, &sdb);
    let lv = server.device("virtual/block/dm-4");
    server.stack(&lv, &map);
    assert_eq!(server.names(), ["dm-3", "nvme1n1", "nvme1n2"]);
    assert!(leaves_under(&server.root).iter().all(|leaf| leaf.untracked.is_none()));
    let sysfs = Sysfs::new(&server.root);
    assert_eq!(sysfs.paths_of("nvme1n1"), ["nvme1c0n1", "nvme1c10n1"]);
    assert_eq!(sysfs.paths_of("nvme11n1"), ["nvme11c0n1"]);
    for other in ["sda", "nvme1", "nvmen1", "nvme1n", "nvme1c0n1", "", "nvme1n1p1"] {
        assert_eq!(sysfs.paths_of(other), [""; 0], "{other}");
    }
    server.mounts(&[(&server.number(&lv), "/", "ext4", "/dev/mapper/x", "rw")]);
    assert_eq!(server.frozen(), [("/".to_owned(), vec!["dm-3".to_owned()])]);
}

#[test]
fn a_mount_leads_to_its_leaves_through_every_layer() {
    let mut server = Server::new("stacks");
    let (sda, sdb) = (server.disk("pci/ata1/block/sda"), server.disk("pci/ata2/block/sdb"));
    let (sda1, sda2) = (server.partition(&sda, "sda1"), server.partition(&sda, "sda2"));
    let sdb1 = server.partition(&sdb, "sdb1");
    let md = server.device("virtual/block/md0");
    server.stack(&md, &sda2);
    server.stack(&md, &sdb1);
    let crypt = server.device("virtual/block/dm-0");
    server.stack(&crypt, &md);
    let lv = server.device("virtual/block/dm-1");
    server.stack(&lv, &crypt);
    let sdc = server.disk("pci/ata3/block/sdc");
    let sdc1 = server.partition(&sdc, "sdc1");
    server.write("sys/fs/btrfs/some-uuid/devices/sdc1/x", "");
    server.write("sys/fs/btrfs/some-uuid/devices/sdb/x", "");
    let image = server.disk("virtual/block/loop3");
    server.write(&format!("{image}/loop/backing_file"), "/srv/disk.img\n");
    server.mounts(&[
        ("0:20", "/proc", "proc", "proc", "rw"),
        (&server.number(&lv), "/", "xfs", "/dev/mapper/root", "rw,attr2"),
        (&server.number(&image), "/image", "ext4", "/dev/loop3", "rw"),
        (&server.number(&sda1), "/boot", "ext4", "/dev/sda1", "ro"),
        ("0:44", "/data", "btrfs", "/dev/sdc1", "rw"),
        (&server.number(&lv), "/again", "xfs", "/dev/mapper/root", "rw"),
        ("0:45", "/tmp", "tmpfs", "tmpfs", "rw"),
    ]);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let expected = [
        ("/image".to_owned(), names(&["sda", "sdb"])),
        ("/data".to_owned(), names(&["sdb", "sdc"])),
        ("/boot".to_owned(), names(&["sda"])),
        ("/".to_owned(), names(&["sda", "sdb"])),
    ];
    assert_eq!(server.frozen(), expected);
    let systems = file_systems_under(&server.root);
    assert_eq!(
        systems.iter().map(|system| system.read_only).collect::<Vec<_>>(),
        [false, false, true, false]
    );
    assert_eq!((systems[3].kind.as_str(), systems[1].number), ("xfs", (0, 44)));
    assert!(server.number(&sdc1).starts_with("8:"));
}

#[test]
fn circles_and_nonsense_end_in_an_answer() {
    let mut server = Server::new("circles");
    let (one, two) = (server.device("virtual/block/dm-0"), server.device("virtual/block/dm-1"));
    server.stack(&one, &two);
    server.stack(&two, &one);
    let own = server.disk("virtual/block/loop0");
    server.write(&format!("{own}/loop/backing_file"), "/own.img");
    server.mounts(&[
        (&server.number(&one), "/", "ext4", "/dev/dm-0", "rw"),
        (&server.number(&own), "/own.img", "ext4", "/dev/loop0", "rw"),
        ("x:y", "/bad", "ext4", "/dev/bad", "rw"),
        ("0:1", "/worse", "btrfs", "nothing", "rw"),
    ]);
    assert_eq!(server.frozen(), []);
}

#[test]
fn this_server_is_described() {
    let leaves = leaves();
    for leaf in &leaves {
        assert!(leaf.bytes > 0 && !leaf.identity.is_empty(), "{leaf:?}");
        assert_eq!(leaves_of(leaf.number), [leaf.name.as_str()]);
    }
    for system in file_systems() {
        assert!(system.leaves.iter().all(|name| leaves.iter().any(|leaf| leaf.name == *name)));
    }
}
