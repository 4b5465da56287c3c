//! What the coordinator tells a child, in one environment variable.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::message::{Id, Sizes};

/// The variable that makes a process of this program a child.
pub const VARIABLE: &str = "STORM_CHILD";
/// The variable in which an end is handed over.
pub const END: &str = "STORM_END";

/// Which end a child has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// It sends.
    Writer,
    /// It receives.
    Reader,
}

impl Role {
    /// The other one.
    #[must_use]
    pub fn peer(self) -> Self {
        match self {
            Self::Writer => Self::Reader,
            Self::Reader => Self::Writer,
        }
    }
}

/// Which verbs are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// `send` and `recv`.
    Messages,
    /// `write` and `read`.
    Stream,
}

/// How children come to the pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The pipe is anonymous, and each child inherits an end.
    Inherited,
    /// The pipe has a name, and each child opens it.
    Named,
}

/// What a child does wrong on purpose, to see that it is caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// A writer sends every hundredth message twice.
    SendTwice,
    /// A writer says that it sent every hundredth message, and does not.
    SkipOne,
    /// A writer changes one byte of every hundredth message.
    FlipByte,
    /// A writer cuts every hundredth message short.
    CutShort,
    /// A writer changes the order of every hundredth message and the next one.
    SwapTwo,
    /// A writer reserves: it publishes its page first and fills it afterwards.
    FillAfterPublish,
    /// A writer sends a message that it does not have: more than it says.
    Invent,
    /// A participant says of a page that it is its own, and it is not.
    WrongRecord,
    /// A writer gives up with an error.
    GiveUp,
    /// Each writer reserves the pipe, as it were: it has a lock while it sends, and the others wait for that.
    Reserve,
    /// A reader keeps every hundredth message to itself.
    Swallow,
    /// A reader stops after a hundred messages.
    Stall,
}

impl Lie {
    /// Whether all of a role tell it, and not the first one alone.
    #[must_use]
    pub fn is_of_all(self) -> bool {
        matches!(self, Self::Stall | Self::Reserve)
    }
}

/// Every lie.
const LIES: [Lie; 12] = [
    Lie::SendTwice,
    Lie::SkipOne,
    Lie::FlipByte,
    Lie::CutShort,
    Lie::SwapTwo,
    Lie::FillAfterPublish,
    Lie::Invent,
    Lie::WrongRecord,
    Lie::GiveUp,
    Lie::Reserve,
    Lie::Swallow,
    Lie::Stall,
];

/// What one child is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orders {
    /// The coordinator's process id.
    pub coordinator: i32,
    /// Which end.
    pub role: Role,
    /// Which one of that role, counted over the whole storm.
    pub incarnation: u16,
    /// Numbers of the coordinator's descriptors: of what is said to be sent, and of what is said to have arrived.
    pub journal: (i32, i32),
    /// Which messages.
    pub sizes: Sizes,
    /// Say only a sample of what happens, and be in the pipe's own code for nearly all of the time.
    pub is_silent: bool,
    /// Leave and join anew now and then. Not always, since who leaves frees what it finds, and so heals leaks.
    pub is_restless: bool,
    /// Sleep at bells as soon as it sleeps, and not only after half a second without anything to do.
    pub sleeps_at_bells: bool,
    /// What to do wrong.
    pub lie: Option<Lie>,
    /// The pipe's name, empty if the end is inherited.
    pub name: String,
}

impl Orders {
    /// Message `number` of this writer.
    #[must_use]
    pub fn id(&self, number: u32) -> Id {
        Id { writer: self.incarnation, number }
    }
}

impl Display for Orders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { coordinator, role, incarnation, journal, sizes, is_silent, is_restless, sleeps_at_bells, lie, name } =
            self;
        let is_writer = u8::from(*role == Role::Writer);
        let lie = lie.and_then(|lie| LIES.iter().position(|&known| known == lie));
        let lie = lie.map_or("-".to_owned(), |index| index.to_string());
        write!(f, "{coordinator} {is_writer} {incarnation} {} {} ", journal.0, journal.1)?;
        write!(f, "{} {} {} ", sizes.slot, sizes.capacity, u8::from(sizes.is_stream))?;
        write!(f, "{} {} ", u8::from(*is_silent), u8::from(*is_restless))?;
        write!(f, "{} {lie} {name}", u8::from(*sleeps_at_bells))
    }
}

impl FromStr for Orders {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        fn number<T: FromStr>(word: Option<&str>) -> Result<T, ()> {
            word.ok_or(())?.parse().map_err(|_| ())
        }
        let mut words = text.splitn(13, ' ');
        Ok(Self {
            coordinator: number(words.next())?,
            role: if number::<u8>(words.next())? == 1 { Role::Writer } else { Role::Reader },
            incarnation: number(words.next())?,
            journal: (number(words.next())?, number(words.next())?),
            sizes: Sizes {
                slot: number(words.next())?,
                capacity: number(words.next())?,
                is_stream: number::<u8>(words.next())? == 1,
            },
            is_silent: number::<u8>(words.next())? == 1,
            is_restless: number::<u8>(words.next())? == 1,
            sleeps_at_bells: number::<u8>(words.next())? == 1,
            lie: match words.next().ok_or(())? {
                "-" => None,
                index => Some(*LIES.get(number::<usize>(Some(index))?).ok_or(())?),
            },
            name: words.next().ok_or(())?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_they_were_given() {
        for (lie, name) in [(None, ""), (Some(Lie::Stall), "a name")] {
            let sizes = Sizes { slot: 64, capacity: 256, is_stream: true };
            let orders = Orders {
                coordinator: 5,
                role: Role::Writer,
                incarnation: 9,
                journal: (3, 4),
                sizes,
                is_silent: lie.is_some(),
                is_restless: lie.is_none(),
                sleeps_at_bells: lie.is_none(),
                lie,
                name: name.to_owned(),
            };
            assert_eq!(orders.to_string().parse(), Ok(orders));
        }
    }
}
