//! Types put together by hand, those of the kernel that runs, and both with their bytes changed.

use hal_sim::random::Random;

use super::*;
use crate::tracker::places::Fields;

/// Types as they grow.
#[derive(Default)]
struct Types {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

impl Types {
    fn new() -> Self {
        Self { strings: vec![0], ..Self::default() }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.strings.len()).unwrap();
        self.strings.extend(name.bytes());
        self.strings.push(0);
        at
    }

    fn add(&mut self, name: &str, kind: u32, count: usize, own: u32, tail: &[u32]) -> u32 {
        let name = self.name(name);
        let information = kind << 24 | u32::try_from(count).unwrap();
        for word in [name, information, own].iter().chain(tail) {
            self.types.extend(word.to_ne_bytes());
        }
        self.count += 1;
        self.count
    }

    /// A structure of fields: name, type, offset in bits.
    fn structure(&mut self, name: &str, fields: &[(&str, u32, u32)]) -> u32 {
        let tail: Vec<u32> =
            fields.iter().flat_map(|(name, kind, bits)| [self.name(name), *kind, *bits]).collect();
        self.add(name, STRUCT, fields.len(), 64, &tail)
    }

    fn pointer(&mut self, to: u32) -> u32 {
        self.add("", POINTER, 0, to, &[])
    }

    /// A tracepoint with these arguments.
    fn tracepoint(&mut self, name: &str, arguments: &[u32]) {
        let tail: Vec<u32> =
            core::iter::once(&0).chain(arguments).flat_map(|kind| [0, *kind]).collect();
        let function = self.add("", FUNCTION_TYPE, arguments.len() + 1, 0, &tail);
        let pointer = self.pointer(function);
        self.add(&format!("btf_trace_{name}"), TYPEDEF, 0, pointer, &[]);
    }

    fn bytes(&self) -> Vec<u8> {
        let (types, strings) = (self.types.len(), self.strings.len());
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        for word in [24, 0, types, types, strings] {
            bytes.extend(u32::try_from(word).unwrap().to_ne_bytes());
        }
        bytes.extend(&self.types);
        bytes.extend(&self.strings);
        bytes
    }
}

/// A kernel; an old one where `old`.
fn kernel(old: bool) -> Vec<u8> {
    let mut types = Types::new();
    let int = types.add("int", 1, 0, 4, &[32]);
    let constant = types.add("", 10, 0, int, &[]);
    let disk = types.structure("gendisk", &[("major", int, 0), ("first_minor", constant, 32)]);
    let to_disk = types.pointer(disk);
    let tagged = types.add("percpu", 18, 0, to_disk, &[]);
    let queue = types.structure("request_queue", &[("disk", tagged, 1280)]);
    let to_queue = types.pointer(queue);
    let device = types.structure("block_device", &[("bd_disk", to_disk, 320)]);
    let to_device = types.pointer(device);
    let iterator = types.structure("bvec_iter", &[("bi_sector", int, 0), ("bi_size", int, 64)]);
    let own = if old { ("bi_disk", to_disk, 64) } else { ("bi_bdev", to_device, 64) };
    let bio = types.structure("bio", &[("bi_next", int, 0), own, ("bi_iter", iterator, 256)]);
    let to_bio = types.pointer(bio);
    let place = types.structure("", &[("__data_len", int, 0), ("__sector", int, 64)]);
    let mut fields =
        vec![("q", to_queue, 0), ("cmd_flags", int, 192), ("", place, 256), ("bio", to_bio, 448)];
    if old {
        fields.push(("rq_disk", to_disk, 512));
    }
    let request = types.structure("request", &fields);
    let to_request = types.pointer(request);
    types.tracepoint("block_rq_complete", &[to_request, int, int]);
    if old {
        types.tracepoint("block_rq_issue", &[to_queue, to_request]);
        types.tracepoint("block_bio_remap", &[to_queue, to_bio, int, int]);
    } else {
        types.tracepoint("block_rq_issue", &[to_request]);
        types.tracepoint("block_bio_remap", &[to_bio, int, int]);
    }
    types.bytes()
}

#[test]
fn fields_are_found_in_old_kernels_and_in_new_ones() {
    let new = Fields::find(&Btf::parse(kernel(false)).unwrap()).unwrap();
    assert_eq!((new.request_bytes, new.request_sector, new.request_bio), (32, 40, 56));
    assert_eq!((new.request_disk, new.queue_disk, new.disk_minor), (None, 160, 4));
    assert_eq!((new.bio_device, new.device_disk, new.bio_bytes), (8, Some(40), 40));
    assert_eq!((new.issued_argument, new.remapped_argument), (0, 0));
    let old = Fields::find(&Btf::parse(kernel(true)).unwrap()).unwrap();
    assert_eq!((old.request_disk, old.device_disk, old.bio_device), (Some(64), None, 8));
    assert_eq!((old.issued_argument, old.remapped_argument), (1, 1));
}

#[test]
fn fields_narrower_than_a_byte_and_what_is_missing_are_not_found() {
    let mut types = Types::new();
    let int = types.add("int", 1, 0, 4, &[32]);
    let name = types.name("narrow");
    let narrow = types.add("x", 1 << 7 | STRUCT, 1, 4, &[name, int, 3 << 24]);
    let btf = Btf::parse(types.bytes()).unwrap();
    assert_eq!(btf.field(narrow, "narrow"), None);
    assert_eq!(btf.field(narrow, "other"), None);
    assert_eq!(btf.field(int, "narrow"), None);
    assert_eq!(btf.field(99, "narrow"), None);
    assert_eq!((btf.pointee(int), btf.pointee(0)), (None, None));
    assert_eq!(btf.tracepoint("block_rq_complete"), None);
    assert!(Fields::find(&btf).unwrap_err().contains("block_rq_complete"));
}

#[test]
fn types_that_lead_in_circles_end_in_an_answer() {
    let mut types = Types::new();
    let own = types.count + 1;
    types.add("btf_trace_x", TYPEDEF, 0, own, &[]);
    let inner = types.count + 1;
    types.structure("", &[("", inner, 8)]);
    let btf = Btf::parse(types.bytes()).unwrap();
    assert_eq!(btf.tracepoint("x"), None);
    assert_eq!(btf.field(inner, "anything"), None);
}

#[test]
fn any_bytes_end_in_an_answer() {
    let seed = 23;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    for round in 0..20_000 {
        let mut bytes = kernel(round % 2 == 0);
        for _ in 0..=random.below(8) {
            let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
            bytes[at] = u8::try_from(random.below(256)).unwrap();
        }
        if random.below(4) == 0 {
            bytes.truncate(usize::try_from(random.below(bytes.len() as u64)).unwrap());
        }
        if let Ok(btf) = Btf::parse(bytes) {
            // A wrong offset cannot be told from a right one; the verifier checks it again.
            let _ = Fields::find(&btf);
        }
    }
}

#[test]
fn this_kernel_is_read() {
    let path = Path::new(VMLINUX);
    if !path.exists() {
        eprintln!("SKIPPED, not tested on this machine: its kernel tells no types");
        return;
    }
    let fields = Fields::find(&Btf::of_kernel(path).unwrap()).unwrap();
    assert!(fields.request_sector > 0 && fields.completed != fields.issued, "{fields:?}");
    assert!(Btf::of_kernel(Path::new("/nowhere")).unwrap_err().contains("/nowhere"));
}
