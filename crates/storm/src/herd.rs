//! The processes: started, stopped, continued, killed, and none left behind, whatever way this ends.

use std::io;
use std::process::{Child, Command, ExitStatus};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::orders::Role;

/// One child.
#[derive(Debug)]
pub struct Member {
    /// Which end it has.
    pub role: Role,
    /// Which one of that role.
    pub incarnation: u16,
    child: Child,
}

/// All living children. Dropping it kills them.
#[derive(Debug, Default)]
pub struct Herd {
    members: Vec<Member>,
}

impl Member {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn as_pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Stops it, and returns when it stands. False if it has ended by itself.
    ///
    /// # Errors
    /// What the system says.
    pub fn stop(&self) -> io::Result<bool> {
        kill(self.as_pid(), Signal::SIGSTOP)?;
        // It stays a child to be waited for: only that it stands is asked, and not what became of it.
        let id = Id::Pid(self.as_pid());
        let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        Ok(matches!(waitid(id, flags)?, WaitStatus::Stopped(..)))
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// What the system says.
    pub fn go_on(&self) -> io::Result<()> {
        Ok(kill(self.as_pid(), Signal::SIGCONT)?)
    }
}

impl Herd {
    /// Starts a child.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(&mut self, role: Role, incarnation: u16, command: &mut Command) -> io::Result<()> {
        let child = command.spawn()?;
        self.members.push(Member { role, incarnation, child });
        Ok(())
    }

    /// All of them.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How many there are of `role`.
    #[must_use]
    pub fn count(&self, role: Role) -> usize {
        self.members.iter().filter(|member| member.role == role).count()
    }

    /// Kills the one at `index`, and returns when nothing is left of it, and who it was. An error status: it had ended by
    /// itself, and how.
    ///
    /// # Errors
    /// What the system says.
    pub fn kill(&mut self, index: usize) -> io::Result<(Role, u16, Option<ExitStatus>)> {
        let mut member = self.members.swap_remove(index);
        let ended = member.child.try_wait()?;
        if ended.is_none() {
            member.child.kill()?;
            member.child.wait()?;
        }
        Ok((member.role, member.incarnation, ended))
    }

    /// Removes those that have ended by themselves, and gives who and how to `each`.
    ///
    /// # Errors
    /// What the system says.
    pub fn bury(&mut self, mut each: impl FnMut(Role, u16, ExitStatus)) -> io::Result<()> {
        let mut index = 0;
        while index < self.members.len() {
            let member = &mut self.members[index];
            match member.child.try_wait()? {
                Some(status) => {
                    each(member.role, member.incarnation, status);
                    self.members.swap_remove(index);
                }
                None => index += 1,
            }
        }
        Ok(())
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        for member in &mut self.members {
            // It may have ended already; nothing more can be done here.
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
    }
}

/// The processes that `pid` has started and that still run.
///
/// # Errors
/// What the system says.
pub fn children_of(pid: u32) -> io::Result<Vec<i32>> {
    let mut children = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let list = std::fs::read_to_string(thread?.path().join("children"))?;
        children.extend(list.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    Ok(children)
}

/// Whether process `pid` is there and not dead.
#[must_use]
pub fn is_running(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        // "pid (name) state ...", and the name can contain anything.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    })
}
