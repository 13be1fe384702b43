//! The appliance as the project's own builder makes it, where nothing else is asked for.

use std::path::{Path, PathBuf};
use std::process::Command;

use qemu::{Error, Kernel};

/// Has cargo build the program and join it with a kernel; gives what starts it.
pub(crate) fn build(words: &str) -> Result<Kernel, Error> {
    let out = folder()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // Where the manifest of this package was when it was built: elsewhere there is nothing to build from.
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command.args(["run", "--release", "--package", "image", "--", "initrd", "--fast", "--out"]);
    let failed = |how: String| {
        Error::Program(format!(
            "cargo image did not make the appliance ({how}); its words are above"
        ))
    };
    match command.arg(&out).status() {
        Ok(status) if status.success() => Ok(Kernel {
            kernel: out.join("vmlinuz"),
            initrd: Some(out.join("initrd.zst")),
            command_line: format!("console=ttyS0 quiet {words}"),
        }),
        Ok(status) => Err(failed(status.to_string())),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Beside this program, among what the build made.
fn folder() -> Result<PathBuf, Error> {
    let program = std::env::current_exe()
        .map_err(|source| Error::Io { what: "finding this program".to_owned(), source })?;
    Ok(program.with_file_name("vm-appliance"))
}
