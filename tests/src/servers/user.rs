use std::{
    fs, io,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

/// The user that a server runs as: servers refuse to run as root, and should.
#[derive(Clone, Copy, Debug)]
pub(super) struct User {
    ids: Option<(u32, u32)>,
}

impl User {
    /// Ourselves; where we are root, the first of these users that exists, then `nobody`.
    pub(super) fn unprivileged(preferred: &str) -> Self {
        let is_root = fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0);
        let ids = is_root.then(|| ids(preferred).or_else(|| ids("nobody")).unwrap_or((65_534, 65_534)));
        Self { ids }
    }

    /// A command that this user runs.
    pub(super) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((user, group)) = self.ids {
            command.uid(user).gid(group);
        }
        command
    }

    /// Makes a path this user's own.
    pub(super) fn own(self, path: &Path) -> io::Result<()> {
        match self.ids {
            Some((user, group)) => chown(path, Some(user), Some(group)),
            None => Ok(()),
        }
    }

    /// Whether we are root and run servers as somebody else.
    pub(super) fn is_other(self) -> bool {
        self.ids.is_some()
    }
}

fn ids(name: &str) -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let mut fields = users.lines().find(|line| line.split(':').next() == Some(name))?.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
