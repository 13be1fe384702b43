//! The loader over a kernel that only writes down what it is given.

use std::sync::mpsc;

use super::*;

fn index() -> Index {
    let text = "M virtio virtio.ko\nM virtio_ring virtio_ring.ko virtio\n\
        M virtio_pci virtio_pci.ko virtio virtio_ring\n\
        M virtio_net virtio_net.ko virtio virtio_ring\nM crc32c_generic crc32c-generic.ko\n\
        M ext4 ext4.ko crc32c_generic\nA pci:v00001AF4d* virtio_pci\n\
        A virtio:d00000001v* virtio_net\nA fs:ext4 ext4\n";
    Index::parse(text.as_bytes()).unwrap()
}

fn recording(fail: &'static str) -> (Loader, mpsc::Receiver<String>) {
    let (tell, told) = mpsc::channel();
    let insert = move |file: &str| {
        let name = file.trim_end_matches(".ko").to_owned();
        tell.send(name.clone()).unwrap();
        if name == fail { Err("broken".to_owned()) } else { Ok(()) }
    };
    (Loader::new(index(), Box::new(insert)), told)
}

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn what_is_needed_comes_first_and_nothing_twice() {
    let (loader, told) = recording("");
    assert_eq!(loader.want("pci:v00001AF4d00001000"), 1);
    assert_eq!(loader.want("virtio:d00000001v00001AF4"), 1);
    assert_eq!(loader.want("pci:v00001AF4d00001000"), 0, "it is wanted already");
    assert_eq!(loader.want("acpi:PNP0A03:"), 0);
    let done = loader.settle(PATIENCE);
    assert_eq!((done.loaded, done.open, done.failed.len()), (4, 0, 0));
    let order: Vec<String> = told.try_iter().collect();
    assert_eq!(order.len(), 4, "{order:?}");
    let place = |name: &str| order.iter().position(|loaded| loaded == name).unwrap();
    assert!(place("virtio") < place("virtio_ring"));
    assert!(
        place("virtio_ring") < place("virtio_pci") && place("virtio_ring") < place("virtio_net")
    );
}

#[test]
fn a_module_is_had_by_name_or_alias_and_failure_has_words() {
    let (loader, told) = recording("crc32c-generic");
    assert_eq!(loader.need("virtio-ring"), Ok(()));
    assert_eq!(loader.need("virtio_ring"), Ok(()));
    assert_eq!(told.try_iter().count(), 2);
    assert!(loader.need("zfs").unwrap_err().contains("holds no module zfs"));
    assert_eq!(loader.want("fs:ext4"), 1);
    let done = loader.settle(PATIENCE);
    assert_eq!(done.failed, [("crc32c_generic".to_owned(), "broken".to_owned())]);
    assert_eq!(done.loaded, 3, "what needed it is tried all the same: the kernel knows best");
}

#[test]
fn a_thread_that_vanishes_in_the_kernel_takes_only_its_module_along() {
    let crash = |file: &str| {
        if file == "crc32c-generic.ko" {
            // As a crash in the kernel: the thread never comes back.
            loop {
                std::thread::park();
            }
        }
        Ok(())
    };
    let loader = Loader::new(index(), Box::new(crash));
    loader.want("fs:ext4");
    let hung = loader.settle(Duration::from_millis(100));
    assert_eq!((hung.open, hung.loaded), (2, 0));
    {
        // No such thread exists any more.
        let mut work = loader.shared.lock();
        let since = Instant::now();
        work.state[4] = Load::Busy { thread: i32::MAX, since };
        work.state[5] = Load::In;
    }
    let done = loader.settle(PATIENCE);
    assert!(done.failed[0].1.contains("crashed"), "{done:?}");
    assert_eq!(loader.need("virtio_net"), Ok(()), "others still load");
}

#[test]
fn aliases_are_found_wherever_devices_are() {
    let root = std::env::temp_dir().join(format!("lifeboat-aliases-{}", std::process::id()));
    let deep = root.join("pci0000:00/0000:00:03.0/virtio1");
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("modalias"), "virtio:d1v2\n").unwrap();
    fs::write(root.join("pci0000:00/0000:00:03.0/modalias"), "pci:v1\n").unwrap();
    fs::write(root.join("modalias"), "\n").unwrap();
    std::os::unix::fs::symlink(&root, deep.join("subsystem")).unwrap();
    assert_eq!(device_aliases(&root), ["pci:v1", "virtio:d1v2"]);
    fs::remove_dir_all(&root).unwrap();
    assert!(device_aliases(&root).is_empty());
}
