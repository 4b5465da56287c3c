//! Splicing with descriptors and lengths that cannot be: what is looked at first, and said, is what the kernel looks at and says.

#[path = "../../ppipe/tests/name/mod.rs"]
mod name;

use std::fs::File;
use std::io::{IoSlice, Write};
use std::os::fd::{AsFd, OwnedFd};

use differ::kernel::Kernel;
use differ::ours::Ours;
use differ::step::{Access, Manner, SLOT};
use differ::system::{Answer, System};
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, open};

/// What the pipe is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Empty,
    /// One slot is.
    Occupied,
    Full,
    AtItsEnd,
    Broken,
}

/// What is at the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    /// A file that has something in it, at its start.
    File,
    /// A file behind its end.
    FarFile,
    ReadOnly,
    WriteOnly,
    Appending,
    Null,
    Path,
}

const STATES: [State; 5] = [State::Empty, State::Occupied, State::Full, State::AtItsEnd, State::Broken];
const OTHERS: [Other; 7] =
    [Other::File, Other::FarFile, Other::ReadOnly, Other::WriteOnly, Other::Appending, Other::Null, Other::Path];
const LENS: [usize; 7] = [0, 1, 3 * SLOT, 1 << 31, isize::MAX as usize - 100, isize::MAX as usize, usize::MAX];
const MANNERS: [Manner; 2] = [Manner::AsTheHandles, Manner::Nonblock];

fn descriptor(other: Other) -> OwnedFd {
    let file = memfd_create("descriptors", MemfdFlags::CLOEXEC).expect("memory");
    let mut file = File::from(file);
    file.write_all(&[3; 2 * SLOT]).expect("memory");
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    let again = |flags| open(&path, flags | OFlags::CLOEXEC, Mode::empty()).expect("the same file");
    match other {
        Other::File => again(OFlags::RDWR),
        Other::FarFile => {
            let far = again(OFlags::RDWR);
            rustix::fs::seek(&far, rustix::fs::SeekFrom::Start(1000)).expect("a place");
            far
        }
        Other::ReadOnly => again(OFlags::RDONLY),
        Other::WriteOnly => again(OFlags::WRONLY),
        Other::Appending => again(OFlags::RDWR | OFlags::APPEND),
        Other::Null => open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).expect("it is there"),
        Other::Path => again(OFlags::PATH),
    }
}

/// What both directions say.
fn answers<S: System>(system: &S, state: State, other: Other, len: usize, manner: Manner) -> [Option<Answer>; 2] {
    let reader = system.open(0, Access::Reads).expect("a reader");
    let writer = system.open(0, Access::Writes).expect("a writer");
    system.resize(&writer, 4 * SLOT as u32).expect("a size");
    let slots = match state {
        State::Occupied => 1,
        State::Full => 4,
        _ => 0,
    };
    system.write(&writer, &[IoSlice::new(&vec![2; slots * SLOT])]).expect("there is room");
    let (reader, writer) = ((state != State::Broken).then_some(reader), (state != State::AtItsEnd).then_some(writer));
    let to = descriptor(other);
    let spliced_to = reader.as_ref().map(|reader| system.splice_to(reader, to.as_fd(), len, manner));
    let from = descriptor(other);
    // The kernel cannot splice from everything that can be read; we can.
    let spliced_from = writer
        .as_ref()
        .filter(|_| other != Other::Null)
        .map(|writer| system.splice_from(from.as_fd(), writer, len, manner));
    [spliced_to, spliced_from]
}

#[test]
fn whatever_is_spliced_with_is_refused_as_the_kernel_refuses_it() {
    name::sweep();
    let mut wrong = Vec::new();
    for state in STATES {
        for other in OTHERS {
            for (len, manner) in LENS.into_iter().zip(MANNERS.into_iter().cycle()) {
                let kernel = answers(&Kernel::new(), state, other, len, manner);
                let ours = answers(&Ours::new(0), state, other, len, manner);
                if ours != kernel {
                    wrong.push(format!("{state:?} {other:?} {len:#x} {manner:?}: {ours:?} and not {kernel:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
