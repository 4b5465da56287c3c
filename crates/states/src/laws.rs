//! What must be true of every state.

use crate::mistake::Mistake;
use crate::state::{At, Content, Operation, PACKET_SIZE, Record, State, Word};

/// More accesses than anybody needs for one operation who is alone.
const MOST_STEPS_ALONE: usize = 60;

impl State {
    /// Whether what is in the ring is what was published and not read, whole and where it belongs.
    pub(crate) fn holds_what_was_published(&self) -> bool {
        let slots_in_use =
            self.slots().iter().filter(|word| !matches!(word.content, Content::Empty | Content::Reserved));
        slots_in_use.count() == usize::from(self.account.len)
            && self.account.items().all(|(position, item)| {
                let word = self.slots[self.index(position)];
                word.lap == self.lap(position) && self.bytes_in(word) == Some(&item.bytes[..item.len.into()])
            })
    }

    /// The unread bytes of a slot with `word`, if that can be.
    fn bytes_in(&self, word: Word) -> Option<&[u8]> {
        let page = &self.pages[usize::from(word.page)];
        match word.content {
            Content::Empty | Content::Reserved => None,
            Content::Stream { start, end } => page.get(start.into()..end.into()),
            Content::Packet => page.get(..PACKET_SIZE),
            Content::Large => {
                let extent = usize::from(page[0]);
                let is_its_own = self.extents().get(extent) == Some(&(word.page + 1));
                is_its_own.then(|| &self.extent_bytes[extent][..])
            }
        }
    }

    /// Whether everything is settled, where nobody has anything left to do and somebody lives who cleans up.
    pub(crate) fn is_settled_if_quiet(&self, mistake: Mistake) -> bool {
        let entries = || 0..self.entry_count;
        let mut processes = 0..self.processes().len();
        let is_busy = processes.any(|who| {
            self.after_step(who, mistake).is_some() || entries().any(|entry| self.may_join(who, entry, mistake))
        });
        if is_busy {
            return true;
        }
        let is_cleaned_up = self.locks().iter().all(Option::is_some);
        let is_heir_left = self.processes().iter().any(|one| one.lives && one.operation() == Some(Operation::Join));
        let says_the_truth = |(record, lock): (&Record, &Option<u8>)| {
            lock.is_none_or(|owner| match *record {
                Record::Settled(page) => self.processes[usize::from(owner)].owns == Some(page),
                Record::Pending { .. } => false,
            })
        };
        let is_in_use =
            |owner: u8| self.slots().iter().any(|word| word.content == Content::Large && word.page + 1 == owner);
        (is_cleaned_up || !is_heir_left)
            && self.records().iter().zip(self.locks()).all(says_the_truth)
            && (!is_cleaned_up || self.extents().iter().all(|&owner| owner == 0 || is_in_use(owner)))
    }

    /// Whether everybody who is in the midst of something ends it, if all the others are stopped where they are.
    pub(crate) fn lets_everybody_go_on(&self, mistake: Mistake) -> bool {
        (0..self.processes().len()).all(|who| self.ends_alone(who, mistake))
    }

    fn ends_alone(&self, who: usize, mistake: Mistake) -> bool {
        let operations = self.processes[who].operations;
        let mut state = *self;
        for _ in 0..MOST_STEPS_ALONE {
            match state.after_step(who, mistake) {
                None => return true,
                Some(next) => state = next,
            }
            let process = &state.processes[who];
            if process.at == At::Idle || process.operations != operations {
                return true;
            }
        }
        false
    }
}
