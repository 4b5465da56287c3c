//! Atomics that make loom see every interleaving.
//!
//! loom 0.7.3 remembers one last access to an atomic. Where a thread loads a word and then exchanges it, the exchange is
//! compared with that load, and another thread's earlier load is forgotten: the two are never run the other way round
//! (`litmus.rs` shows it). Everything in this ring is a load and then an exchange, so there are two cures, and every
//! model runs under both:
//!
//! * [`Form::Newest`]: a load is a read-modify-write that adds nothing, a store one that forgets what it has read. Complete
//!   and cheap, but it never sees an old value.
//! * [`Form::Stale`]: a relaxed read-modify-write on a shadow of the word comes before every access. Loads are real and see
//!   old values as far as their orderings allow; there are more executions, so preemptions are bounded.

use core::cell::Cell;

use loom::sync::atomic as simulated;

use super::death;
use crate::sync::Ordering;

/// Which of the two cures is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Loads see the newest value.
    Newest,
    /// Loads see any value that their ordering allows.
    Stale,
}

thread_local! {
    static FORM: Cell<Form> = const { Cell::new(Form::Newest) };
}

/// Which form the words have that are made from now on.
pub(crate) fn set_form(form: Form) {
    FORM.set(form);
}

macro_rules! atomic {
    ($name:ident, $value:ty) => {
        /// A word of the simulated memory.
        #[derive(Debug)]
        pub struct $name {
            word: simulated::$name,
            /// In form [`Form::Stale`].
            shadow: Option<simulated::AtomicU32>,
            /// Of one that nobody changes: its loads are not worth an interleaving.
            constant: Option<$value>,
        }

        impl $name {
            /// A word that is `value`.
            #[must_use]
            pub fn new(value: $value) -> Self {
                let shadow = (FORM.get() == Form::Stale).then(|| simulated::AtomicU32::new(0));
                Self { word: simulated::$name::new(value), shadow, constant: None }
            }

            /// A word that is `value`, and that nobody changes in this model.
            #[must_use]
            #[allow(dead_code, reason = "not every kind of word is needed so")]
            pub fn constant(value: $value) -> Self {
                Self { constant: Some(value), ..Self::new(value) }
            }

            /// As the standard library's.
            pub fn load(&self, order: Ordering) -> $value {
                if let Some(value) = self.constant {
                    return value;
                }
                self.before_access();
                match self.shadow {
                    Some(_) => self.word.load(order),
                    None => self.word.fetch_add(0, order),
                }
            }

            /// As the standard library's.
            ///
            /// # Errors
            /// The value, if it was not `current`.
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                ok: Ordering,
                err: Ordering,
            ) -> Result<$value, $value> {
                self.before_access();
                self.word.compare_exchange(current, new, ok, err)
            }

            fn before_access(&self) {
                assert!(self.constant.is_none(), "somebody changes what nobody changes in this model");
                death::step();
                if let Some(shadow) = &self.shadow {
                    shadow.fetch_add(0, Ordering::Relaxed);
                }
            }
        }
    };
}

atomic!(AtomicU64, u64);
atomic!(AtomicU32, u32);

impl AtomicU64 {
    /// As the standard library's.
    pub fn fetch_or(&self, bits: u64, order: Ordering) -> u64 {
        self.before_access();
        self.word.fetch_or(bits, order)
    }

    /// As the standard library's.
    pub fn store(&self, value: u64, order: Ordering) {
        self.before_access();
        match self.shadow {
            Some(_) => self.word.store(value, order),
            // loom lets a plain store slip in between what a read-modify-write has read and what it writes.
            None => _ = self.word.swap(value, order),
        }
    }
}

impl AtomicU32 {
    /// As the standard library's.
    pub fn fetch_add(&self, amount: u32, order: Ordering) -> u32 {
        self.before_access();
        self.word.fetch_add(amount, order)
    }

    /// As the standard library's.
    pub fn fetch_or(&self, bits: u32, order: Ordering) -> u32 {
        self.before_access();
        self.word.fetch_or(bits, order)
    }

    /// As the standard library's.
    pub fn fetch_and(&self, bits: u32, order: Ordering) -> u32 {
        self.before_access();
        self.word.fetch_and(bits, order)
    }
}

/// As the standard library's.
pub fn fence(order: Ordering) {
    simulated::fence(order);
}

/// The fence that every processor has, and x86-64 has for nothing.
pub fn fence_after_rmw() {
    fence(Ordering::SeqCst);
}

/// The fence of those who act; on the machine those who sleep can have it done for them.
pub fn fence_of_actors(_is_fenced_by_sleepers: bool) {
    fence(Ordering::SeqCst);
}

/// The fence of those who sleep.
pub fn fence_of_sleepers() -> bool {
    fence(Ordering::SeqCst);
    true
}
