//! `ppipe rm` and `ppipe gc`: names taken away, from pipes that are in use or from those that the dead left.

use std::io::ErrorKind;

use ppipe::Found;

use crate::args::{RemoveArgs, SweepArgs};
use crate::failure::{At, Failure};
use crate::owners::as_owner_of;
use crate::pipes::find;
use crate::{complain, print};

/// Takes the names away; the first one that cannot be taken is told, after the others have been.
pub(crate) fn remove(args: &RemoveArgs) -> Result<(), Failure> {
    let mut is_complete = true;
    for name in &args.names {
        let removed =
            find(name).map_or_else(|_| ppipe::unlink(name), |found| as_owner_of(&found.path, || ppipe::unlink(name)));
        if let Err(error) = removed {
            complain(&error.to_string());
            is_complete = false;
        }
    }
    if is_complete { Ok(()) } else { Err(Failure::Reported) }
}

/// Removes what everybody has left.
pub(crate) fn sweep(args: &SweepArgs) -> Result<(), Failure> {
    let mut is_complete = true;
    let is_meant = |found: &Found| args.names.is_empty() || args.names.contains(&found.name);
    for found in ppipe::names().at("pipes")?.into_iter().filter(is_meant) {
        let is_abandoned = || {
            if args.is_dry {
                found.looks_abandoned().map(|is_abandoned| is_abandoned == Some(true))
            } else {
                found.sweep()
            }
        };
        match as_owner_of(&found.path, is_abandoned) {
            Ok(true) => print(&line(&found, args.is_dry))?,
            Ok(false) => {}
            Err(error) => {
                complain(&error.to_string());
                // What others own is theirs to remove.
                is_complete &= error.kind() == ErrorKind::PermissionDenied;
            }
        }
    }
    if is_complete { Ok(()) } else { Err(Failure::Reported) }
}

fn line(found: &Found, is_dry: bool) -> String {
    let what = if found.is_finished { "left by its last user" } else { "left half made" };
    let done = if is_dry { "would remove" } else { "removed" };
    format!("{done} {}: {what}\n", found.path.display())
}
