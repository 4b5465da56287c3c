//! What each operation does when it is done, and what others may find if it was not.

use crate::act::{Act, BATCH, LARGE, PART, SLOT, SLOTS, SMALL, Scenario};
use crate::content::{Content, bytes_of};

/// Who sends what the victims send, in the sense of [`bytes_of`]: the first one, the second one.
pub const VICTIMS: [u8; 2] = [2, 3];

/// What an operation does when it is done, and what others may find if it was not.
#[derive(Clone, Debug, Default)]
pub struct Effect {
    /// What it puts in at the end.
    pub appended: Content,
    /// How many bytes it takes out of the front.
    pub removed: usize,
    /// What may be taken out and put in if it dies on the way.
    pub partly: Vec<(usize, usize)>,
}

impl Scenario {
    /// What the victim puts in before it begins.
    #[must_use]
    pub fn prepared(self, who: u8) -> Content {
        let mut content = Content::default();
        if self.act == Act::AppendOwn {
            content.push_stream(&sent(who, 0, SMALL));
        }
        content
    }

    /// What the operation does to pipes that hold `content` and give it `first`, the bytes of the first buffer.
    #[must_use]
    pub fn effect(self, who: u8, content: &Content, first: usize) -> Effect {
        use Act as A;
        let mut appended = Content::default();
        let mut removed = 0;
        let is_refused = content.count() >= SLOTS as usize;
        match self.act {
            A::TrySend if is_refused => {}
            A::Send | A::TrySend | A::Commit | A::WakeReader => appended.push_packet(sent(who, 1, SMALL)),
            A::SendLarge | A::CommitLarge => appended.push_packet(sent(who, 1, LARGE)),
            A::SendBatch => (1..=BATCH as u32).for_each(|number| appended.push_packet(sent(who, number, SMALL))),
            A::Write | A::AppendOwn | A::AppendOther | A::SpliceFrom => appended.push_stream(&sent(who, 1, SMALL)),
            A::WriteMany => appended.push_stream(&sent(who, 1, LARGE)),
            A::WritePackets => {
                let bytes = sent(who, 1, SLOT + SMALL);
                appended.push_packet(bytes[..SLOT].to_vec());
                appended.push_packet(bytes[SLOT..].to_vec());
            }
            A::TryRecv if content.is_empty() => {}
            A::Recv | A::TryRecv | A::RecvLarge | A::Loan | A::LoanLarge | A::ReadAll => removed = first,
            A::SpliceTo | A::WakeWriter => removed = first,
            A::RecvBatch => removed = content.len_of_first(BATCH),
            A::ReadPart | A::RecvKeep => removed = PART,
            A::ReadAcross => removed = SLOT + PART,
            A::Splice => {
                removed = first;
                appended.push_some(content, first);
            }
            A::Tee => appended.push_some(content, first),
            A::Abandon | A::AbandonLarge | A::Peek | A::Grow | A::Shrink | A::JoinWriter | A::JoinReader => {}
            A::LeaveWriter | A::LeaveReader | A::LastWriter | A::LastReader | A::Reap | A::TakeUp | A::PollFd => {}
            A::PollFdWriter | A::Pass | A::Create | A::OpenWriter | A::OpenReader | A::CloseName => {}
        }
        let put = appended.len();
        let partly = match self.act {
            A::SendBatch => (0..=BATCH).map(|done| (0, done * SMALL)).collect(),
            A::WriteMany => {
                // What exceeds whole slots comes first if it can be merged with what is there.
                let odd = put % SLOT;
                [0, SLOT, 2 * SLOT, put, odd, odd + SLOT].map(|done| (0, done)).to_vec()
            }
            A::WritePackets => [0, SLOT, put].map(|done| (0, done)).to_vec(),
            A::RecvBatch => (0..=BATCH).map(|done| (content.len_of_first(done), 0)).collect(),
            A::ReadAcross => [0, SLOT, removed].map(|done| (done, 0)).to_vec(),
            // Whoever moves a buffer may take it along, but leaves it nowhere twice.
            A::Splice => vec![(0, 0), (removed, 0), (removed, put)],
            _ => vec![(0, 0), (removed, put)],
        };
        Effect { appended, removed, partly }
    }
}

/// What the victim sends.
#[must_use]
pub fn sent(who: u8, number: u32, len: usize) -> Vec<u8> {
    bytes_of(who, number, len)
}
