//! Blocks of bytes, with a history.
//!
//! ```text
//!   version word:  2          history:  [ 0: "......" ]  [ 1: "ab...." ]  [ 2: "abcd.." ]
//!                                          written, reads   written, reads   written, reads
//! ```
//!
//! Every write makes a new version of its block. Whoever peeks loads the version word, relaxed, and sees the bytes of that
//! version: like bytes in real memory they may be old, or a later owner's. That is legitimate as long as the peek is thrown
//! away; `commit` and `confirm` check that what was read is what the ring promised.
//!
//! loom's cells are the marks that this leaves in the order of things. `written` is made by the write: whoever uses the
//! version must have it in its past. Each read makes one of its own, at the time of the read, and leaves it with the version
//! when it is known to count: the next writer must have all of them in its past. A read that is thrown away leaves none.

use super::atomic::AtomicU32;
use super::simulator::{Locked, Mark, Shared};
use crate::sync::Ordering;

/// All blocks of one size: the simulated memory behind [`Blocks`].
#[derive(Debug)]
pub(crate) struct Memory {
    size: usize,
    blocks: Vec<Shared<Block>>,
}

impl Memory {
    /// `count` blocks of `size` bytes.
    pub(crate) fn new(count: u32, size: usize) -> Self {
        Self { size, blocks: (0..count).map(|_| Shared::new(Block::new(size))).collect() }
    }

    /// The view that the algorithm has.
    pub(crate) fn view(&self) -> Blocks<'_> {
        Blocks(self)
    }
}

/// One block.
#[derive(Debug)]
struct Block {
    version: AtomicU32,
    history: Locked<Vec<Version>>,
}

/// What a block held from one write to the next.
#[derive(Debug)]
struct Version {
    bytes: Vec<u8>,
    written: Mark,
    reads: Vec<Mark>,
}

impl Version {
    fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, written: Mark::new(), reads: Vec::new() }
    }
}

impl Block {
    fn new(size: usize) -> Self {
        Self { version: AtomicU32::new(0), history: Locked::new(vec![Version::new(vec![0; size])]) }
    }

    /// The caller owns the block.
    fn write(&self, at: usize, bytes: &[u8]) {
        let before = self.version.fetch_add(1, Ordering::Relaxed) as usize;
        self.history.with(|history| {
            assert_eq!(before + 1, history.len(), "versions are numbered");
            let last = &history[before];
            last.written.is_past();
            last.reads.iter().for_each(Mark::is_past);
            let mut content = last.bytes.clone();
            content[at..at + bytes.len()].copy_from_slice(bytes);
            history.push(Version::new(content));
        });
    }

    /// The caller owns the block.
    fn read(&self, at: usize, out: &mut [u8]) {
        self.history.with(|history| {
            let last = history.last_mut().expect("there is always a version");
            last.written.is_past();
            last.reads.push(Mark::new());
            out.copy_from_slice(&last.bytes[at..at + out.len()]);
        });
    }

    /// The block may be somebody else's.
    fn peek(self: &Shared<Self>, at: usize, out: &mut [u8]) -> Peek {
        if out.is_empty() {
            return Peek(None);
        }
        let version = self.version.load(Ordering::Relaxed) as usize;
        self.history.with(|history| out.copy_from_slice(&history[version].bytes[at..at + out.len()]));
        Peek(Some(Read { block: Shared::clone(self), version, time: Mark::new() }))
    }
}

/// Bytes that were read from a block which another participant may own by now; nothing if there were none to read.
#[derive(Debug)]
#[must_use]
pub struct Peek(Option<Read>);

#[derive(Debug)]
struct Read {
    block: Shared<Block>,
    version: usize,
    time: Mark,
}

impl Peek {
    /// An exchange has proven the read: the block was nobody else's until the exchange.
    pub fn commit(self) {
        let Some(Read { block, version, time }) = self.0 else { return };
        block.history.with(|history| {
            assert_eq!(
                version + 1,
                history.len(),
                "the bytes that were read are not those that the exchange vouches for"
            );
            history[version].written.is_past();
            history[version].reads.push(time);
        });
    }

    /// A load has proven the read: the block was nobody else's when it was read. Later owners may not know of it.
    pub fn confirm(self) {
        let Some(Read { block, version, .. }) = self.0 else { return };
        block.history.with(|history| history[version].written.is_past());
    }
}

/// What the algorithm sees of [`Memory`].
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a>(&'a Memory);

impl Blocks<'_> {
    /// Bytes in a block.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.size
    }

    /// Says that offset `at` of `block` is going to be read soon: nothing that a model could see.
    pub fn prefetch(&self, _block: u32, _at: usize) {}

    /// Writes `bytes` at offset `at` of `block`, which the caller owns.
    pub fn write(&self, block: u32, at: usize, bytes: &[u8]) {
        self.block(block).write(at, bytes);
    }

    /// Reads from offset `at` of `block`, which the caller owns.
    pub fn read(&self, block: u32, at: usize, out: &mut [u8]) {
        self.block(block).read(at, out);
    }

    /// Reads from offset `at` of `block`, which may be somebody else's by now.
    pub fn peek(&self, block: u32, at: usize, out: &mut [u8]) -> Peek {
        self.block(block).peek(at, out)
    }

    /// Copies `len` bytes at offset `at` from one block, which may be somebody else's by now, to another one, which the
    /// caller owns.
    pub fn copy(&self, from: u32, to: u32, at: usize, len: usize) -> Peek {
        let mut bytes = vec![0; len];
        let peek = self.block(from).peek(at, &mut bytes);
        if from != to && len > 0 {
            self.block(to).write(at, &bytes);
        }
        peek
    }

    fn block(&self, block: u32) -> &'_ Shared<Block> {
        &self.0.blocks[block as usize]
    }
}
