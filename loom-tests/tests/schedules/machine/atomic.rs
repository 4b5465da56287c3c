//! Atomics at each of whose accesses another task may go on.

use shuttle::sync::atomic as simulated;

use super::death;
use crate::sync::Ordering;

macro_rules! atomic {
    ($name:ident, $value:ty) => {
        /// A word of the simulated memory.
        #[derive(Debug)]
        pub struct $name {
            word: simulated::$name,
            /// Of one that nobody changes: its loads are not worth a step.
            constant: Option<$value>,
        }

        impl $name {
            /// A word that is `value`.
            #[must_use]
            pub fn new(value: $value) -> Self {
                Self { word: simulated::$name::new(value), constant: None }
            }

            /// A word that is `value`, and that nobody changes.
            #[must_use]
            #[allow(dead_code, reason = "not every kind of word is needed so")]
            pub fn constant(value: $value) -> Self {
                Self { constant: Some(value), ..Self::new(value) }
            }

            /// As the standard library's.
            pub fn load(&self, order: Ordering) -> $value {
                self.constant.unwrap_or_else(|| self.accessed().load(order))
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
                self.accessed().compare_exchange(current, new, ok, err)
            }

            fn accessed(&self) -> &simulated::$name {
                death::step();
                &self.word
            }
        }
    };
}

atomic!(AtomicU64, u64);
atomic!(AtomicU32, u32);

impl AtomicU64 {
    /// As the standard library's.
    pub fn fetch_or(&self, bits: u64, order: Ordering) -> u64 {
        self.accessed().fetch_or(bits, order)
    }

    /// As the standard library's.
    pub fn store(&self, value: u64, order: Ordering) {
        self.accessed().store(value, order);
    }
}

impl AtomicU32 {
    /// As the standard library's.
    pub fn fetch_add(&self, amount: u32, order: Ordering) -> u32 {
        self.accessed().fetch_add(amount, order)
    }

    /// As the standard library's.
    pub fn fetch_or(&self, bits: u32, order: Ordering) -> u32 {
        self.accessed().fetch_or(bits, order)
    }

    /// As the standard library's.
    pub fn fetch_and(&self, bits: u32, order: Ordering) -> u32 {
        self.accessed().fetch_and(bits, order)
    }
}
