//! `RemoveIPC` of systemd-logind, which removes what a user has in `/dev/shm` when his last session ends; `logind.conf(5)`.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::machine::Logout;

/// From the most to the least important.
const FOLDERS: [&str; 4] = ["/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd"];
/// Users up to this number are of the system's own services, if nothing else is said.
const MOST_SYSTEM_USER: u32 = 999;

pub(super) fn look() -> Logout {
    let user = geteuid().as_raw();
    let login_defs = fs::read_to_string("/etc/login.defs").unwrap_or_default();
    Logout {
        is_managed: Path::new("/run/systemd/system").exists() && Path::new("/run/systemd/seats").exists(),
        removes: removes(&configuration()),
        is_system_user: user <= most_system_user(&login_defs),
        lingers: name_of(user).is_some_and(|name| Path::new("/var/lib/systemd/linger").join(name).exists()),
    }
}

/// The texts of all files that count, in the order in which they do.
fn configuration() -> Vec<String> {
    let main = FOLDERS.iter().map(|folder| Path::new(folder).join("logind.conf")).find(|path| path.exists());
    let found = FOLDERS.iter().map(|folder| {
        let entries = fs::read_dir(Path::new(folder).join("logind.conf.d"));
        entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    });
    let files = main.into_iter().chain(in_order(found.collect()));
    files.filter_map(|path| fs::read_to_string(path).ok()).collect()
}

/// Of the folders' files, the more important folder's first, those that count: by their names, and of two with one name the first.
fn in_order(folders: Vec<Vec<PathBuf>>) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = Vec::new();
    for path in folders.into_iter().flatten().filter(|path| path.extension().is_some_and(|ending| ending == "conf")) {
        if files.iter().all(|file| file.file_name() != path.file_name()) {
            files.push(path);
        }
    }
    files.sort_unstable_by(|a, b| a.file_name().cmp(&b.file_name()));
    files
}

/// What the last one of them says that says anything; without that it is so.
fn removes(texts: &[String]) -> bool {
    texts
        .iter()
        .flat_map(|text| settings(text))
        .fold(true, |_, value| !matches!(value.to_ascii_lowercase().as_str(), "no" | "n" | "false" | "f" | "off" | "0"))
}

fn settings(text: &str) -> impl Iterator<Item = &str> {
    let mut is_login = false;
    text.lines().map(str::trim).filter_map(move |line| {
        if line.starts_with('[') {
            is_login = line == "[Login]";
        }
        let value = line.strip_prefix("RemoveIPC")?.trim_start().strip_prefix('=')?.trim();
        is_login.then_some(value)
    })
}

fn most_system_user(login_defs: &str) -> u32 {
    let mut words = login_defs.lines().map(str::split_ascii_whitespace);
    let said = words.find_map(|mut line| (line.next() == Some("SYS_UID_MAX")).then(|| line.next()?.parse().ok())?);
    said.unwrap_or(MOST_SYSTEM_USER)
}

fn name_of(user: u32) -> Option<String> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let mut lines = users.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(user)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(texts: &[&str]) -> bool {
        removes(&texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_last_file_that_says_anything_counts() {
        assert!(say(&[]));
        assert!(say(&["[Login]\n#RemoveIPC=no\n"]), "a comment");
        assert!(!say(&["[Login]\nRemoveIPC = no\n"]));
        assert!(!say(&["[Login]\nRemoveIPC=yes\n", "[Login]\nKillUserProcesses=yes\nRemoveIPC=off\n"]));
        assert!(say(&["[Login]\nRemoveIPC=no\n", "[Login]\nRemoveIPC=yes\n"]));
        assert!(say(&["[Login]\nRemoveIPC=no\n", "[Login]\nRemoveIPC=\n"]), "nothing is as if it were not said");
        assert!(say(&["[Other]\nRemoveIPC=no\n"]));
    }

    #[test]
    fn drop_ins_count_by_their_names_and_the_more_important_folder_hides_others() {
        let files = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        let folders = vec![
            files(&["/etc/b.conf", "/etc/a.txt"]),
            files(&["/run/a.conf", "/run/b.conf"]),
            files(&["/usr/c.conf"]),
        ];
        assert_eq!(in_order(folders), files(&["/run/a.conf", "/etc/b.conf", "/usr/c.conf"]));
    }

    #[test]
    fn who_is_a_system_user_stands_in_login_defs() {
        assert_eq!(most_system_user("#SYS_UID_MAX 5\nUID_MIN 1000\nSYS_UID_MAX\t499\n"), 499);
        assert_eq!(most_system_user(""), MOST_SYSTEM_USER);
    }
}
