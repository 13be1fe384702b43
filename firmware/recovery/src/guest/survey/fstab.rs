//! The table of file systems, `/etc/fstab`: its lines, and a line's device changed with everything else left as it
//! stands.

/// A line that mounts something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What is mounted: a device, or a tag such as `UUID=`.
    pub what: String,
    /// Where: a path, or `none`.
    pub at: String,
    /// The kind of file system.
    pub kind: String,
    /// Its options, as they stand.
    pub options: String,
}

impl Line {
    /// An option's value.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        let mut pairs = self.options.split(',').filter_map(|option| option.split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Whether the server starts without it, or it is in memory.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        let lets = |option: &str| matches!(option, "nofail" | "noauto");
        self.kind == "tmpfs" || self.options.split(',').any(lets)
    }

    /// Whether its device is named by what is written on it.
    #[must_use]
    pub fn is_by_tag(&self) -> bool {
        let tags = ["UUID=", "LABEL=", "PARTUUID=", "PARTLABEL="];
        tags.iter().any(|tag| self.what.starts_with(tag))
    }

    /// Whether its device is named by what changes with the machine: order and driver of disks.
    #[must_use]
    pub fn is_by_device(&self) -> bool {
        is_by_device(&self.what)
    }
}

/// Whether a device is named by order and driver of disks, or by the way to it.
#[must_use]
pub fn is_by_device(what: &str) -> bool {
    let Some(name) = what.strip_prefix("/dev/") else { return false };
    let kinds = ["sd", "hd", "vd", "xvd", "nvme", "cciss/", "disk/by-path/", "disk/by-id/"];
    kinds.iter().any(|kind| name.starts_with(kind))
}

/// The lines that mount something.
#[must_use]
pub fn parse(text: &str) -> Vec<Line> {
    text.lines().filter_map(line).collect()
}

fn line(text: &str) -> Option<Line> {
    if text.trim_start().starts_with('#') {
        return None;
    }
    let mut fields = text.split_whitespace();
    let what = fields.next()?.to_owned();
    let at = fields.next()?.replace("\\040", " ");
    let kind = fields.next()?.to_owned();
    let options = fields.next().unwrap_or("defaults").to_owned();
    Some(Line { what, at, kind, options })
}

/// The same table with other devices where `device` has one; comments, spaces and all else as they were.
#[must_use]
pub fn with_devices(text: &str, device: &dyn Fn(&Line) -> Option<String>) -> String {
    let mut changed = String::with_capacity(text.len() + 256);
    for piece in text.split_inclusive('\n') {
        match line(piece).and_then(|line| Some((device(&line)?, line.what))) {
            Some((new, old)) => changed.push_str(&piece.replacen(&old, &new, 1)),
            None => changed.push_str(piece),
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "# /etc/fstab\n/dev/sda2  /   ext4\terrors=remount-ro 0 1\nUUID=ab-cd /boot ext4\n\
        /dev/sda3 none swap sw 0 0\n  # /dev/sda9 /x ext4\n/dev/mapper/vg-home /home xfs subvol=/@home,rw 0 0\n\n";

    #[test]
    fn lines_are_read_and_only_devices_change() {
        let lines = parse(TABLE);
        assert_eq!(lines.len(), 4);
        let by_device: Vec<bool> = lines.iter().map(Line::is_by_device).collect();
        assert_eq!(by_device, [true, false, true, false]);
        assert_eq!(
            (lines[1].options.as_str(), lines[3].option("subvol")),
            ("defaults", Some("/@home"))
        );
        let changed =
            with_devices(TABLE, &|line| (line.what == "/dev/sda2").then(|| "UUID=new".to_owned()));
        assert_eq!(changed, TABLE.replacen("/dev/sda2 ", "UUID=new ", 1));
        assert_eq!(with_devices(TABLE, &|_| None), TABLE);
    }
}
