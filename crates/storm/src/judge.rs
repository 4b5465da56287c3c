//! The laws: what may be missing, and what may never be.

use std::collections::HashMap;
use std::fmt::{self, Display};

use crate::journal::Arrival;
use crate::message::{Id, Tear};

/// How a writer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It finished by itself, so that all it said is all there is.
    Finished,
    /// It was killed, maybe between sending and saying so.
    Killed,
}

/// What is known of a writer when all is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// How many messages it said it has sent.
    pub said: u32,
    /// How it ended.
    pub fate: Fate,
    /// How many it sends before it says so.
    pub at_once: u32,
}

/// A broken law.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A message is not what was sent.
    Torn {
        /// Who received it.
        reader: u16,
        /// How.
        tear: Tear,
        /// Which one it says that it is.
        id: Option<Id>,
    },
    /// A message has arrived twice.
    Duplicate {
        /// Who received it the second time.
        reader: u16,
        /// Which one.
        id: Id,
    },
    /// A reader has received an earlier message of a writer after a later one.
    Disorder {
        /// Who.
        reader: u16,
        /// The earlier message.
        id: Id,
        /// The number of the later one.
        after: u32,
    },
    /// A message has arrived that nobody sent.
    Invented(Id),
    /// More is missing than the killed can have taken with them.
    Lost {
        /// How many.
        missing: u64,
        /// How many could be.
        most: u64,
        /// One of them.
        example: Id,
    },
}

/// What was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Messages that have arrived.
    pub arrived: u64,
    /// Messages that were sent and that killed readers took with them.
    pub taken_along: u64,
    /// Messages that killed writers sent without living to say so.
    pub unsaid: u64,
}

/// Keeps the accounts.
#[derive(Debug, Default)]
pub struct Judge {
    /// Of each writer, which messages have arrived: a bit each.
    arrived: Vec<Vec<u64>>,
    /// Of each reader and writer, the number of the last message.
    last: HashMap<(u16, u16), u32>,
    count: u64,
}

impl Judge {
    /// Notes an arrival.
    ///
    /// # Errors
    /// Which law it breaks.
    pub fn note(&mut self, arrival: Arrival) -> Result<(), Broken> {
        let reader = arrival.reader;
        let id = arrival.what.map_err(|(tear, id)| Broken::Torn { reader, tear, id })?;
        self.count += 1;
        let writer = usize::from(id.writer);
        if self.arrived.len() <= writer {
            self.arrived.resize_with(writer + 1, Vec::new);
        }
        let (word, bit) = (id.number as usize / 64, 1 << (id.number % 64));
        let bits = &mut self.arrived[writer];
        if bits.len() <= word {
            bits.resize(word + 1, 0);
        }
        if bits[word] & bit != 0 {
            return Err(Broken::Duplicate { reader, id });
        }
        bits[word] |= bit;
        match self.last.insert((reader, id.writer), id.number) {
            Some(after) if after > id.number => Err(Broken::Disorder { reader, id, after }),
            _ => Ok(()),
        }
    }

    /// How many messages have arrived.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Judges when nothing more can come. Killed readers can have taken `most` messages with them.
    ///
    /// # Errors
    /// Which law is broken.
    pub fn judge(&self, writers: &[Account], most: u64) -> Result<Sum, Broken> {
        let mut sum = Sum { arrived: self.count, ..Sum::default() };
        let mut example = None;
        for (writer, &Account { said, fate, at_once }) in writers.iter().enumerate() {
            let bits = self.arrived.get(writer).map_or(&[][..], Vec::as_slice);
            let writer = writer as u16;
            let has_arrived =
                |number: u32| bits.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1);
            for number in (0..said).filter(|&number| !has_arrived(number)) {
                sum.taken_along += 1;
                example = Some(Id { writer, number });
            }
            for number in (said..bits.len() as u32 * 64).filter(|&number| has_arrived(number)) {
                if fate == Fate::Finished || number - said >= at_once {
                    return Err(Broken::Invented(Id { writer, number }));
                }
                sum.unsaid += 1;
            }
        }
        if let Some(writer) = (writers.len()..self.arrived.len()).next() {
            return Err(Broken::Invented(Id { writer: writer as u16, number: 0 }));
        }
        match example {
            Some(example) if sum.taken_along > most => Err(Broken::Lost { missing: sum.taken_along, most, example }),
            _ => Ok(sum),
        }
    }
}

impl Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Torn { reader, tear, id: Some(id) } => write!(f, "reader {reader} received {id} torn: {tear:?}"),
            Self::Torn { reader, tear, id: None } => write!(f, "reader {reader} received a torn message: {tear:?}"),
            Self::Duplicate { reader, id } => write!(f, "reader {reader} received {id}, which had arrived already"),
            Self::Disorder { reader, id, after } => {
                write!(f, "reader {reader} received {id} after number {after}")
            }
            Self::Invented(id) => write!(f, "{id} arrived, and nobody sent it"),
            Self::Lost { missing, most, example } => {
                write!(f, "{missing} messages are missing, such as {example}; the killed can have taken {most}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(ids: &[(u16, u32)], writers: &[(u32, Fate)], most: u64) -> Result<Sum, Broken> {
        judged_at_once(1, ids, writers, most)
    }

    fn judged_at_once(at_once: u32, ids: &[(u16, u32)], writers: &[(u32, Fate)], most: u64) -> Result<Sum, Broken> {
        let writers: Vec<_> = writers.iter().map(|&(said, fate)| Account { said, fate, at_once }).collect();
        let mut judge = Judge::default();
        for &(writer, number) in ids {
            judge.note(Arrival { reader: 0, what: Ok(Id { writer, number }) })?;
        }
        judge.judge(&writers, most)
    }

    #[test]
    fn each_law_can_be_broken() {
        use Fate::{Finished, Killed};
        let id = |writer, number| Id { writer, number };
        let fine = [(0, 0), (1, 0), (0, 1)];
        let sum = Sum { arrived: 3, taken_along: 0, unsaid: 0 };
        assert_eq!(judged(&fine, &[(2, Finished), (1, Killed)], 0), Ok(sum));
        assert_eq!(judged(&fine, &[(2, Finished), (0, Killed)], 0), Ok(Sum { unsaid: 1, ..sum }));
        assert_eq!(judged(&fine, &[(3, Finished), (1, Killed)], 1), Ok(Sum { taken_along: 1, ..sum }));
        assert_eq!(judged(&fine, &[(2, Finished), (0, Finished)], 9), Err(Broken::Invented(id(1, 0))));
        assert_eq!(judged(&fine, &[(0, Killed), (1, Killed)], 9), Err(Broken::Invented(id(0, 1))));
        assert_eq!(judged(&fine, &[(2, Killed)], 9), Err(Broken::Invented(id(1, 0))));
        let two = Sum { arrived: 3, taken_along: 0, unsaid: 2 };
        assert_eq!(judged_at_once(2, &fine, &[(0, Killed), (1, Killed)], 0), Ok(two));
        let late = [(0, 0), (0, 2), (1, 0)];
        assert_eq!(judged_at_once(2, &late, &[(0, Killed), (1, Killed)], 9), Err(Broken::Invented(id(0, 2))));
        let lost = Broken::Lost { missing: 1, most: 0, example: id(1, 1) };
        assert_eq!(judged(&fine, &[(2, Killed), (2, Killed)], 0), Err(lost));
        let twice = Broken::Duplicate { reader: 0, id: id(0, 1) };
        assert_eq!(judged(&[(0, 1), (0, 1)], &[(2, Finished)], 9), Err(twice));
        let disorder = Broken::Disorder { reader: 0, id: id(0, 0), after: 1 };
        assert_eq!(judged(&[(0, 1), (0, 0)], &[(2, Finished)], 9), Err(disorder));
    }
}
