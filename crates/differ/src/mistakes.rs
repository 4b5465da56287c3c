//! Mistakes that one could make; the judge is to see each of them.

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Small writes never go into the last slot.
    NeverMerges,
    /// A read ends with its slot.
    ReadsOneSlot,
    /// The packet flag is lost on a duplicate.
    DuplicatesHaveNoFlag,
    /// A packet flag that is set never goes again.
    FlagStays,
    /// A broken pipe is told as a full one.
    BrokenIsFull,
    /// The end of file is told as an empty pipe.
    EndIsEmpty,
    /// What is unread is counted in slots.
    CountsSlots,
    /// A size is not rounded up.
    SizeAsAsked,
    /// A pipe can be made too small for what is in it.
    NeverBusy,
    /// A size of nothing is refused.
    NothingIsNoSize,
    /// A writer that could merge is shown as one that can write.
    RoomToMergeIsRoom,
    /// The end of file is not shown while there is something to read.
    HangUpAtLast,
    /// A broken pipe is not shown as one that can be written to.
    BrokenIsNotWritable,
    /// A reader that never had a writer is shown as hung up.
    HungUpFromTheStart,
    /// More than one buffer is written in pieces.
    WritesBufferByBuffer,
    /// What is spliced is read and written.
    TransfersBytesOnly,
    /// What tee copies is gone.
    TeeTakes,
    /// What is spliced from a file is read and written.
    FilesAreReadAndWritten,
    /// A resize returns the size that was, and not the one that is.
    TellsTheOldSize,
    /// Sizes above what is allowed are told as sizes that cannot be.
    TooLargeIsInvalid,
    /// A read uses the buffer behind what it returns.
    WritesBehindTheCount,
    /// What is spliced to a file leaves the file's position where it was.
    FileStaysInPlace,
    /// What a descriptor refuses is gone.
    RefusedIsLost,
    /// A writer is shown as one that can write from when the pipe is made smaller until it is written to or read from.
    SmallerShowsLate,
    /// A writer fails once after a resize, but not if somebody has looked.
    LooksPutItRight,
    /// Who has hung up is not shown to somebody who asks for nothing.
    NothingIsAskedFor,
    /// What is left when the last writer has gone is not given.
    LastBytesAreLost,
    /// A handle that is opened anew has the flags of the one that it comes from.
    ReopenedHasTheFlags,
    /// What is made nonblocking stays so.
    NonblockingStays,
    /// The flags of a handle that is open both ways are those of one that reads.
    BothIsReading,
}

/// All of them.
pub const MISTAKES: [Mistake; 30] = [
    Mistake::NeverMerges,
    Mistake::ReadsOneSlot,
    Mistake::DuplicatesHaveNoFlag,
    Mistake::FlagStays,
    Mistake::BrokenIsFull,
    Mistake::EndIsEmpty,
    Mistake::CountsSlots,
    Mistake::SizeAsAsked,
    Mistake::NeverBusy,
    Mistake::NothingIsNoSize,
    Mistake::RoomToMergeIsRoom,
    Mistake::HangUpAtLast,
    Mistake::BrokenIsNotWritable,
    Mistake::HungUpFromTheStart,
    Mistake::WritesBufferByBuffer,
    Mistake::TransfersBytesOnly,
    Mistake::TeeTakes,
    Mistake::FilesAreReadAndWritten,
    Mistake::TellsTheOldSize,
    Mistake::TooLargeIsInvalid,
    Mistake::WritesBehindTheCount,
    Mistake::FileStaysInPlace,
    Mistake::RefusedIsLost,
    Mistake::SmallerShowsLate,
    Mistake::LooksPutItRight,
    Mistake::NothingIsAskedFor,
    Mistake::LastBytesAreLost,
    Mistake::ReopenedHasTheFlags,
    Mistake::NonblockingStays,
    Mistake::BothIsReading,
];
