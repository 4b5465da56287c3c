//! From one pipe to another one: `splice` and `tee`.

use std::io;

use crate::blocking::Limit;
use crate::reader::Reader;
use crate::splice::{Verb, run};
use crate::writer::Writer;

/// Moves up to `len` bytes from one pipe to another one: packets stay packets, of which none is cut but the last one, where `len`
/// says so; bytes of a stream go on being one. Returns how many; 0 at the end of file. Waits until there is something to move and room
/// for it, unless one of the two ends is nonblocking. Mirrors `splice` of two pipes, by the rules of `splice_pipe_to_pipe` in `fs/splice.c`.
///
/// ```
/// let ((input, one), (mut other, output)) = (ppipe::pipe()?, ppipe::pipe()?);
/// one.send(b"first")?;
/// one.send(b"second")?;
/// assert_eq!(ppipe::splice(&input, &output, 100)?, 11);
/// assert_eq!(other.recv_loan()?.to_vec(), b"first");
/// # std::io::Result::Ok(())
/// ```
///
/// The bytes are copied once. Where another writer fills the other pipe meanwhile this may wait, also if it is nonblocking; one who is killed in
/// the midst of it may take one buffer along.
///
/// # Errors
/// `InvalidInput` if both are ends of the same pipe; `BrokenPipe` if nobody reads the other one; `WouldBlock` if nonblocking and there is
/// nothing to move or no room; `Interrupted` if a signal handler ended the wait; `InvalidData` if the shared memory of one is damaged;
/// `EMSGSIZE` if the packet at the front is larger than the other pipe's capacity. Nothing has been moved then.
pub fn splice(from: &Reader, to: &Writer, len: usize) -> io::Result<usize> {
    transfer(Verb::Splice, from, to, limit_of(from, to), len)
}

/// As [`splice`], but never waits. Mirrors `splice(SPLICE_F_NONBLOCK)`.
///
/// # Errors
/// As [`splice`].
pub fn try_splice(from: &Reader, to: &Writer, len: usize) -> io::Result<usize> {
    transfer(Verb::Splice, from, to, Limit::Try, len)
}

/// Copies up to `len` bytes from one pipe to another one and leaves them where they are. Else as [`splice`]. Mirrors `tee`, by the
/// rules of `link_pipe` in `fs/splice.c`.
///
/// # Errors
/// As [`splice`].
pub fn tee(from: &Reader, to: &Writer, len: usize) -> io::Result<usize> {
    transfer(Verb::Tee, from, to, limit_of(from, to), len)
}

/// As [`tee`], but never waits. Mirrors `tee(SPLICE_F_NONBLOCK)`.
///
/// # Errors
/// As [`splice`].
pub fn try_tee(from: &Reader, to: &Writer, len: usize) -> io::Result<usize> {
    transfer(Verb::Tee, from, to, Limit::Try, len)
}

fn limit_of(from: &Reader, to: &Writer) -> Limit {
    Limit::of_flag(from.is_nonblocking() || to.is_nonblocking())
}

fn transfer(verb: Verb, from: &Reader, to: &Writer, limit: Limit, len: usize) -> io::Result<usize> {
    let (mut reader, mut writer) = (from.borrow_end(), to.borrow_end());
    let mut result = run(verb, &mut reader, &mut writer, limit, len);
    reader.note(&mut result, |&moved| moved == len);
    writer.note(&mut result, |&moved| moved == len);
    drop((reader, writer));
    to.told(result)
}
