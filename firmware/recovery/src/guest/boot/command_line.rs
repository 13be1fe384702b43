//! Command lines of kernels in the files of boot loaders: found, and changed with everything else left as it stands.

/// The form of a file that has command lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::guest) enum Form {
    /// GRUB's script: `linux /vmlinuz root=... ro`.
    Grub,
    /// GRUB's environment block, `kernelopts=...`, of 1024 bytes whatever it holds.
    GrubEnvironment,
    /// GRUB before its second version: `kernel /vmlinuz root=...`.
    GrubLegacy,
    /// An entry by the boot loader specification: `options root=...`.
    Entry,
    /// extlinux and syslinux: `append root=...`.
    Extlinux,
    /// What GRUB's script is made of: `GRUB_CMDLINE_LINUX="..."`.
    GrubDefaults,
    /// Nothing but a command line.
    Bare,
}

const ENVIRONMENT_BYTES: usize = 1024;

impl Form {
    /// Where in a line of the file the command line is, without what precedes it.
    fn part(self, line: &str) -> Option<core::ops::Range<usize>> {
        let body = line.trim_start();
        let indent = line.len() - body.len();
        let end = line.trim_end().len();
        let word = body.split_whitespace().next()?;
        let after_word = indent + word.len();
        // Behind the word stands the kernel's own path, which ends at the next space.
        let after_path = || {
            let rest = &line[after_word..end];
            let path = rest.len() - rest.trim_start().len();
            let length = rest[path..].find(char::is_whitespace).unwrap_or(rest.len() - path);
            after_word + path + length..end
        };
        let quoted = |name: &str| {
            let rest = body.strip_prefix(name)?;
            let quote = rest.chars().next().filter(|letter| matches!(letter, '"' | '\''))?;
            let start = indent + name.len() + 1;
            let length = line[start..].find(quote)?;
            Some(start..start + length)
        };
        match self {
            Self::Grub if matches!(word, "linux" | "linux16" | "linuxefi") => Some(after_path()),
            // Xen's kernel is a module to it.
            Self::GrubLegacy if matches!(word, "kernel" | "module") && body.contains("root=") => {
                Some(after_path())
            }
            Self::Entry if word == "options" => Some(after_word..end),
            Self::Extlinux if word.eq_ignore_ascii_case("append") => Some(after_word..end),
            Self::GrubEnvironment if body.starts_with("kernelopts=") => {
                Some(indent + "kernelopts=".len()..end)
            }
            Self::GrubDefaults => quoted("GRUB_CMDLINE_LINUX="),
            Self::Bare if !word.starts_with('#') => Some(indent..end),
            _ => None,
        }
    }

    /// The command lines in a file.
    pub(in crate::guest) fn command_lines(self, text: &str) -> Vec<&str> {
        text.lines().filter_map(|line| self.part(line).map(|range| line[range].trim())).collect()
    }

    /// The same file with command lines that `change` has made others. `None` where a block of fixed size has no room.
    pub(in crate::guest) fn changed(
        self,
        text: &str,
        change: &dyn Fn(&str) -> String,
    ) -> Option<String> {
        let mut made = String::with_capacity(text.len() + 256);
        for piece in text.split_inclusive('\n') {
            let Some(range) = self.part(piece) else {
                made.push_str(piece);
                continue;
            };
            let old = &piece[range.clone()];
            let new = change(old.trim());
            made.push_str(&piece[..range.start]);
            if old.trim() == new {
                made.push_str(old);
            } else {
                let joint = matches!(self, Self::GrubEnvironment | Self::GrubDefaults | Self::Bare);
                made.push_str(if joint || new.is_empty() { "" } else { " " });
                made.push_str(&new);
            }
            made.push_str(&piece[range.end..]);
        }
        if self != Self::GrubEnvironment {
            return Some(made);
        }
        let filled = made.trim_end_matches(['#', '\n']).to_owned() + "\n";
        let room = ENVIRONMENT_BYTES.checked_sub(filled.len())?;
        Some(filled + &"#".repeat(room))
    }
}

/// What is changed in a command line.
#[derive(Clone, Debug, Default)]
pub(in crate::guest) struct Edit {
    /// `root=` where it is one of these names, and what it becomes.
    pub(in crate::guest) roots: Vec<(String, String)>,
    /// The console that is added where it is missing.
    pub(in crate::guest) console: Option<String>,
    /// `resume=` is taken away.
    pub(in crate::guest) no_resume: bool,
    /// Parameters that are added where they are missing.
    pub(in crate::guest) add: Vec<String>,
}

impl Edit {
    /// The command line as it becomes. `has_root` says that only one with `root=` is a Linux's.
    pub(in crate::guest) fn apply(&self, line: &str, form: Form) -> String {
        let partial = matches!(form, Form::GrubDefaults);
        // One that only refers to variables gets what it needs by them.
        if !partial && !line.contains("root=") {
            return line.to_owned();
        }
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        for word in &mut words {
            let Some(device) = word.strip_prefix("root=") else { continue };
            if let Some((_, new)) = self.roots.iter().find(|(old, _)| old == device) {
                *word = format!("root={new}");
            }
        }
        if self.no_resume {
            words
                .retain(|word| !word.starts_with("resume=") && !word.starts_with("resume_offset="));
        }
        if let Some(console) = &self.console
            && !has_console(&words, console)
        {
            // The last is the one that programs of the system write to; a screen keeps what it had.
            if !words.iter().any(|word| word.starts_with("console=")) {
                words.push("console=tty0".to_owned());
            }
            words.push(format!("console={console},115200"));
        }
        for parameter in &self.add {
            if !words.contains(parameter) {
                words.push(parameter.clone());
            }
        }
        if words.iter().map(String::as_str).eq(line.split_whitespace()) {
            return line.to_owned();
        }
        words.join(" ")
    }
}

/// Whether the kernel's messages go there.
pub(in crate::guest) fn has_console(words: &[impl AsRef<str>], console: &str) -> bool {
    words.iter().any(|word| {
        let value = word.as_ref().strip_prefix("console=");
        value.is_some_and(|value| value.split(',').next() == Some(console))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit() -> Edit {
        Edit {
            roots: vec![("/dev/sda2".to_owned(), "UUID=ab".to_owned())],
            console: Some("ttyS0".to_owned()),
            no_resume: true,
            add: vec!["net.ifnames=0".to_owned()],
        }
    }

    fn changed(form: Form, text: &str) -> String {
        form.changed(text, &|line| edit().apply(line, form)).unwrap()
    }

    #[test]
    fn every_form_is_changed_where_its_command_line_is_and_nowhere_else() {
        const NEW: &str = "root=UUID=ab ro quiet console=tty0 console=ttyS0,115200 net.ifnames=0";
        const OLD: &str = "root=/dev/sda2 ro quiet resume=/dev/sda3";
        let forms = [
            (
                Form::Grub,
                "if x; then\n\tlinux   /boot/vmlinuz-6.1 @\n\tinitrd /boot/initrd root=/dev/sda2\nfi\n",
            ),
            (Form::Grub, "  linuxefi /vmlinuz @"),
            (Form::GrubLegacy, "title one\nkernel /vmlinuz @\nkernel /memtest\n"),
            (Form::Entry, "title root=/dev/sda2\noptions @\n"),
            (Form::Extlinux, "LABEL a\n  APPEND @\n"),
            (Form::Bare, "@\n"),
        ];
        for (form, text) in forms {
            assert_eq!(changed(form, &text.replace('@', OLD)), text.replace('@', NEW), "{form:?}");
            assert_eq!(
                changed(form, &text.replace('@', NEW)),
                text.replace('@', NEW),
                "once is enough"
            );
            assert_eq!(form.command_lines(&text.replace('@', OLD)), [OLD]);
        }
        let defaults = "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"\"\n";
        assert_eq!(
            changed(Form::GrubDefaults, defaults),
            "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n\
            GRUB_CMDLINE_LINUX=\"console=tty0 console=ttyS0,115200 net.ifnames=0\"\n"
        );
    }

    #[test]
    fn an_environment_block_keeps_its_size_or_is_refused() {
        let head = "# GRUB Environment Block\nsaved_entry=0\nkernelopts=root=/dev/sda2 ro\n";
        let block = head.to_owned() + &"#".repeat(1024 - head.len());
        let made = changed(Form::GrubEnvironment, &block);
        assert_eq!(made.len(), 1024);
        assert!(made.contains("\nkernelopts=root=UUID=ab ro console=tty0"), "{made}");
        assert!(Form::GrubEnvironment.changed(&block, &|_| "x".repeat(1024)).is_none());
    }

    #[test]
    fn what_is_no_command_line_of_linux_stays() {
        for (form, line) in
            [(Form::Entry, "options $kernelopts\n"), (Form::Grub, "linux16 /memtest\n")]
        {
            assert_eq!(changed(form, line), line);
        }
        let other = "linux /vmlinuz root=/dev/sdb1 console=ttyS1,9600";
        assert_eq!(
            changed(Form::Grub, other),
            "linux /vmlinuz root=/dev/sdb1 console=ttyS1,9600 console=ttyS0,115200 net.ifnames=0"
        );
    }
}
