//! Where the benchmark keeps things, how it runs a program and what that costs.

use core::time::Duration;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The place of one benchmark run, removed at its end.
pub(crate) struct Bench {
    /// In tmpfs: vaults, repositories, targets.
    pub(crate) folder: PathBuf,
    /// The disk image.
    pub(crate) image: PathBuf,
    pub(crate) image_bytes: u64,
    pub(crate) rounds: usize,
}

/// What one program run cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// Processor time of all its threads, theirs and the kernel's for them.
    pub(crate) processor: Duration,
    /// Peak resident memory, as the kernel's VmHWM was last seen.
    pub(crate) peak_kib: u64,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let base = std::env::var_os("LIFEBOAT_BENCH_DIR").unwrap_or_else(|| "/dev/shm".into());
        let folder = PathBuf::from(base).join(format!("lifeboat-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the benchmark's folder can be made");
        let number = |name: &str, default: u64| {
            std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
        };
        let image_bytes = number("LIFEBOAT_BENCH_MIB", 3072) << 20;
        let rounds = usize::try_from(number("LIFEBOAT_BENCH_ROUNDS", 3)).expect("a few rounds");
        let image = crate::image::prepared(image_bytes);
        Self { folder, image, image_bytes, rounds: rounds.max(1) }
    }

    /// Date, processor and cores: what the figures hold for.
    pub(crate) fn machine(&self) -> String {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split_once(": ")).map_or("unknown", |pair| pair.1);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let date = Command::new("date").arg("-u").arg("+%F").output().map(|output| output.stdout);
        let date = String::from_utf8(date.unwrap_or_default()).unwrap_or_default();
        format!("{}: {model}, {cores} cores, image {} MiB", date.trim(), self.image_bytes >> 20)
    }

    /// An empty folder in the benchmark's place.
    pub(crate) fn fresh(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        let _ = std::fs::remove_dir_all(&path);
        self.take_memory();
        std::fs::create_dir_all(&path).expect("a folder in the benchmark's place");
        path
    }

    /// Has the host give the memory that the next run will write to. A virtual machine hands freed memory back, and gets it
    /// again page by page: whoever writes first would pay for that, and who is fast would pay the most of their time.
    fn take_memory(&self) {
        let path = self.folder.join("ballast");
        let piece = vec![1_u8; 1 << 20];
        if let Ok(mut file) = std::fs::File::create(&path) {
            for _ in 0..self.image_bytes >> 20 {
                if file.write_all(&piece).is_err() {
                    break;
                }
            }
        }
        let _ = std::fs::remove_file(&path);
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Runs a program to its end; its output is shown only when it fails.
pub(crate) fn run(command: &mut Command) -> Result<Cost, String> {
    run_for_output(command).map(|(cost, _)| cost)
}

/// Runs a program to its end and gives what it wrote to standard output.
pub(crate) fn run_for_output(command: &mut Command) -> Result<(Cost, String), String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let begun = Instant::now();
    let child = command.spawn().map_err(|error| format!("{command:?} does not start: {error}"))?;
    let pid = child.id();
    let watcher = std::thread::spawn(move || {
        let (mut peak, mut processor) = (0, Duration::ZERO);
        while let Some(now) = peak_of(pid) {
            peak = now.max(peak);
            processor = processor_of(pid).unwrap_or(processor);
            std::thread::sleep(Duration::from_millis(5));
        }
        (peak, processor)
    });
    let output = child.wait_with_output().map_err(|error| format!("{command:?}: {error}"))?;
    let wall = begun.elapsed();
    let (peak_kib, processor) = watcher.join().unwrap_or_default();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{command:?} ended with {}: {said}", output.status));
    }
    Ok((Cost { wall, processor, peak_kib }, String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// The peak so far; `None` once the program is gone.
pub(crate) fn peak_of(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Processor time so far of a program and of the services that it started; `None` once it is gone.
pub(crate) fn processor_of_all(pid: u32) -> Option<Duration> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let started = threads.filter_map(|thread| {
        let children = std::fs::read_to_string(thread.path().join("children")).ok()?;
        Some(
            children.split(' ').filter_map(|pid| processor_of(pid.parse().ok()?)).sum::<Duration>(),
        )
    });
    Some(processor_of(pid)? + started.sum::<Duration>())
}

/// Processor time so far; `None` once the program is gone.
pub(crate) fn processor_of(pid: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, a bracket too.
    let (_, fields) = text.rsplit_once(") ")?;
    let mut ticks = fields.split(' ').skip(11).map_while(|field| field.parse::<u64>().ok());
    // Hundredths of a second, whatever the kernel counts by.
    Some(Duration::from_millis(10 * (ticks.next()? + ticks.next()?)))
}

/// The median of durations, in seconds.
pub(crate) fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Bytes of all files below a folder.
pub(crate) fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(facts) if facts.is_dir() => bytes_below(&entry.path()),
        Ok(facts) => facts.len(),
        Err(_) => 0,
    });
    sizes.sum()
}
