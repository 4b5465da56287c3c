//! Makes a program that shows a difference as short and as simple as it gets.

use crate::step::{Access, Lens, Manner, SLOT, Step, Who};

/// Leaves out what can be left out, in ever smaller pieces, and makes what is left simpler. `shows_it`: after which step of a program a
/// difference is seen.
pub(crate) fn shrink(mut program: Vec<Step>, shows_it: impl Fn(&[Step]) -> Option<usize>) -> Vec<Step> {
    let mut piece = program.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        while at < program.len() {
            let mut shorter = program.clone();
            shorter.drain(at..(at + piece).min(program.len()));
            match shows_it(&shorter) {
                Some(last) => {
                    shorter.truncate(last + 1);
                    program = shorter;
                }
                None => at += piece,
            }
        }
        piece /= 2;
    }
    let mut at = 0;
    while at < program.len() {
        let still_shows_it = simpler(&program[at]).into_iter().find_map(|simpler| {
            let mut changed = program.clone();
            changed[at] = simpler;
            (shows_it(&changed) == Some(program.len() - 1)).then_some(changed)
        });
        match still_shows_it {
            Some(changed) => program = changed,
            None => at += 1,
        }
    }
    program
}

/// Ways to make a step simpler, the boldest first. However often one of them is taken, there are none left some time.
fn simpler(step: &Step) -> Vec<Step> {
    let mut all = Vec::new();
    let mut add = |change: &dyn Fn(&mut Step)| {
        let mut changed = step.clone();
        change(&mut changed);
        if changed != *step {
            all.push(changed);
        }
    };
    for index in 0..2 {
        add(&|step| {
            if let Some(who) = handles(step).into_iter().nth(index) {
                who.handle = 0;
            }
        });
    }
    if let Step::Write(_, Lens(lens)) | Step::Read(_, Lens(lens)) = step {
        if lens.len() > 1 {
            add(&|step| set_lens(step, vec![lens.iter().sum()]));
        }
        for index in 0..lens.len() {
            let mut fewer = lens.clone();
            fewer.remove(index);
            if lens.len() > 1 {
                add(&|step| set_lens(step, fewer.clone()));
            }
            for len in smaller(lens[index]) {
                let mut changed = lens.clone();
                changed[index] = len;
                add(&|step| set_lens(step, changed.clone()));
            }
        }
    }
    let smaller_len = len_of(step).map(|len| smaller(*len)).unwrap_or_default();
    for len in smaller_len {
        add(&|step| set_len(step, len));
    }
    add(&|step| match step {
        Step::Transfer(transfer) => transfer.manner = Manner::AsTheHandles,
        Step::FromFile(_, _, manner, _)
        | Step::ToFile(_, _, manner, _)
        | Step::FromPipe(_, _, manner, _)
        | Step::ToOther(_, _, manner, _) => *manner = Manner::AsTheHandles,
        Step::Open(_, access @ Access::Both) | Step::Reopen(_, access @ Access::Both) => *access = Access::Reads,
        Step::Resize(_, bytes) if *bytes as usize > SLOT => *bytes = (*bytes / 2).max(SLOT as u32),
        _ => {}
    });
    add(&|step| match step {
        Step::FromFile(_, _, _, place) => *place = None,
        Step::ToFile(_, _, _, place) => *place = 0,
        Step::FromPipe(_, _, _, slots) => *slots = (*slots).min(1),
        Step::Open(_, access @ Access::Both) | Step::Reopen(_, access @ Access::Both) => *access = Access::Writes,
        _ => {}
    });
    all
}

/// Smaller lengths.
fn smaller(len: usize) -> Vec<usize> {
    let mut all = vec![0, 1, len / 2, len - len % SLOT, len - len / 4, len.saturating_sub(1)];
    // One by one only where that ends soon.
    all.truncate(if len <= 32 { 6 } else { 5 });
    all.retain(|&smaller| smaller < len);
    all
}

fn set_lens(step: &mut Step, new: Vec<usize>) {
    if let Step::Write(_, Lens(lens)) | Step::Read(_, Lens(lens)) = step {
        *lens = new;
    }
}

fn len_of(step: &Step) -> Option<&usize> {
    match step {
        Step::Transfer(transfer) => Some(&transfer.len),
        Step::FromFile(_, len, ..)
        | Step::ToFile(_, len, ..)
        | Step::FromPipe(_, len, ..)
        | Step::ToOther(_, len, ..) => Some(len),
        _ => None,
    }
}

fn set_len(step: &mut Step, new: usize) {
    match step {
        Step::Transfer(transfer) => transfer.len = new,
        Step::FromFile(_, len, ..)
        | Step::ToFile(_, len, ..)
        | Step::FromPipe(_, len, ..)
        | Step::ToOther(_, len, ..) => {
            *len = new;
        }
        _ => {}
    }
}

fn handles(step: &mut Step) -> Vec<&mut Who> {
    match step {
        Step::Write(who, _)
        | Step::Read(who, _)
        | Step::PacketMode(who, _)
        | Step::Nonblocking(who, _)
        | Step::Flags(who)
        | Step::Resize(who, _)
        | Step::Unread(who)
        | Step::Poll(who, _)
        | Step::FromFile(who, ..)
        | Step::ToFile(who, ..)
        | Step::FromPipe(who, ..)
        | Step::ToOther(who, ..)
        | Step::Reopen(who, _)
        | Step::Duplicate(who)
        | Step::Close(who) => vec![who],
        Step::Transfer(transfer) => vec![&mut transfer.from, &mut transfer.to],
        Step::Open(..) => Vec::new(),
    }
}
