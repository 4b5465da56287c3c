#![allow(unsafe_code)]
//! The one function that moves bytes into and out of shared memory. Unsafe because it is a copy between raw addresses.
//!
//! Another process may write to shared memory at any time, whatever the protocol says, so that an ordinary copy would be a
//! data race, which the compiler may assume not to exist. What moves the bytes here is opaque to it: inline assembly where
//! there is some, relaxed atomics elsewhere. A race can then yield any mixture of bytes and nothing worse. (`just asan` builds with `--cfg sanitized`, and
//! atomics everywhere: the sanitizer does not look into assembly.)

/// Copies `len` bytes from `from` to `to`.
///
/// # Safety
/// `from` is valid for reads and `to` for writes of `len` bytes, they do not overlap, and what is not shared memory of the
/// two is not accessed by another thread meanwhile.
#[inline]
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    #[cfg(all(target_arch = "x86_64", not(sanitized)))]
    // SAFETY: promised by the caller.
    unsafe {
        x86_64::copy(from, to, len);
    }
    #[cfg(any(sanitized, not(target_arch = "x86_64")))]
    // SAFETY: promised by the caller.
    unsafe {
        portable::copy(from, to, len);
    }
}

/// As [`copy`], for bytes that nobody else accesses meanwhile as long as all keep the rules. That they do is what ThreadSanitizer checks
/// (`just tsan`), and it sees plain copies alone.
///
/// # Safety
/// As [`copy`].
#[inline]
pub(crate) unsafe fn copy_owned(from: *const u8, to: *mut u8, len: usize) {
    if cfg!(ppipe_tsan) {
        // SAFETY: promised by the caller; a race is what is looked for.
        unsafe { to.copy_from_nonoverlapping(from, len) };
    } else {
        // SAFETY: promised by the caller.
        unsafe { copy(from, to, len) };
    }
}

/// Begins to fetch the line at `address` for reading. A hint: does nothing where there is no such instruction.
#[inline(always)]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect but on the caches, whatever the address.
    unsafe {
        core::arch::asm!("prefetcht0 [{address}]", address = in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

#[cfg(all(target_arch = "x86_64", not(sanitized)))]
mod x86_64 {
    use core::arch::asm;

    /// Up to here a few vector moves beat the start-up of the string instruction.
    const SHORT: usize = 128;

    /// # Safety
    /// As [`super::copy`].
    #[inline]
    pub(super) unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
        if len > SHORT || len == 0 {
            // SAFETY: reads and writes exactly the two ranges; the direction flag is clear by the calling convention.
            unsafe {
                asm!(
                    "rep movsb",
                    inout("rcx") len => _, inout("rsi") from => _, inout("rdi") to => _,
                    options(nostack, preserves_flags)
                );
            }
        } else if len > 64 {
            // Blocks from both ends; what lies in the middle may be moved twice.
            // SAFETY: len >= 64.
            unsafe { move_64(from, to, 0, 48) };
            // SAFETY: len >= 64.
            unsafe { move_64(from, to, len - 64, len - 16) };
        } else if len > 32 {
            // SAFETY: len >= 32.
            unsafe { move_64(from, to, 0, len - 16) };
        } else if len >= 16 {
            // SAFETY: the first 16 bytes.
            unsafe { move_16(from, to, 0) };
            // SAFETY: the last 16 bytes.
            unsafe { move_16(from, to, len - 16) };
        } else if len >= 8 {
            // SAFETY: the first 8 bytes.
            unsafe { move_8(from, to, 0) };
            // SAFETY: the last 8 bytes.
            unsafe { move_8(from, to, len - 8) };
        } else {
            for at in 0..len {
                // SAFETY: at < len.
                unsafe { move_1(from, to, at) };
            }
        }
    }

    /// Moves 16 bytes at `first`, `first + 16`, `last - 16` and `last`: all loads, then all stores.
    ///
    /// # Safety
    /// `first + 32` and `last + 16` bytes are valid at both ends, and `last >= 16`.
    #[inline(always)]
    unsafe fn move_64(from: *const u8, to: *mut u8, first: usize, last: usize) {
        // SAFETY: promised by the caller; unaligned moves.
        unsafe {
            asm!(
                "movups {a}, [{f} + {first}]", "movups {b}, [{f} + {first} + 16]",
                "movups {c}, [{f} + {last} - 16]", "movups {e}, [{f} + {last}]",
                "movups [{d} + {first}], {a}", "movups [{d} + {first} + 16], {b}",
                "movups [{d} + {last} - 16], {c}", "movups [{d} + {last}], {e}",
                a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, e = out(xmm_reg) _,
                f = in(reg) from, d = in(reg) to, first = in(reg) first, last = in(reg) last,
                options(nostack, preserves_flags)
            );
        }
    }

    /// # Safety
    /// `at + 16` bytes are valid at both ends.
    #[inline]
    unsafe fn move_16(from: *const u8, to: *mut u8, at: usize) {
        // SAFETY: promised by the caller; unaligned moves.
        unsafe {
            asm!(
                "movups {t}, [{f} + {at}]", "movups [{d} + {at}], {t}",
                t = out(xmm_reg) _, f = in(reg) from, d = in(reg) to, at = in(reg) at,
                options(nostack, preserves_flags)
            );
        }
    }

    /// # Safety
    /// `at + 8` bytes are valid at both ends.
    #[inline]
    unsafe fn move_8(from: *const u8, to: *mut u8, at: usize) {
        // SAFETY: promised by the caller; unaligned moves.
        unsafe {
            asm!(
                "mov {t}, [{f} + {at}]", "mov [{d} + {at}], {t}",
                t = out(reg) _, f = in(reg) from, d = in(reg) to, at = in(reg) at,
                options(nostack, preserves_flags)
            );
        }
    }

    /// # Safety
    /// `at + 1` bytes are valid at both ends.
    #[inline]
    unsafe fn move_1(from: *const u8, to: *mut u8, at: usize) {
        // SAFETY: promised by the caller.
        unsafe {
            asm!(
                "mov {t}, [{f} + {at}]", "mov [{d} + {at}], {t}",
                t = out(reg_byte) _, f = in(reg) from, d = in(reg) to, at = in(reg) at,
                options(nostack, preserves_flags)
            );
        }
    }
}

#[cfg(any(test, sanitized, not(target_arch = "x86_64")))]
mod portable {
    use core::sync::atomic::{AtomicU8, Ordering};

    /// Byte by byte: racing accesses of different sizes are not defined, and the other side's offsets may be odd.
    ///
    /// # Safety
    /// As [`super::copy`].
    pub(super) unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
        for at in 0..len {
            // SAFETY: a byte is left to read.
            let from = unsafe { AtomicU8::from_ptr(from.wrapping_add(at).cast_mut()) };
            // SAFETY: a byte is left to write.
            let to = unsafe { AtomicU8::from_ptr(to.wrapping_add(at)) };
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    type Copy = unsafe fn(*const u8, *mut u8, usize);

    fn copies_every_length_and_nothing_else(copy: Copy) {
        let from: Vec<u8> = (0..600_u32).map(|n| (n * 7 + 1) as u8).collect();
        for len in (0..300).chain([511, 512, 513]) {
            for (from_at, to_at) in [(0, 0), (1, 0), (0, 3), (5, 9)] {
                let mut to = vec![0_u8; 600];
                // SAFETY: both ranges lie within their vectors.
                unsafe { copy(from[from_at..].as_ptr(), to[to_at..].as_mut_ptr(), len) };
                assert_eq!(&to[to_at..to_at + len], &from[from_at..from_at + len], "{len} bytes");
                assert!(to[..to_at].iter().chain(&to[to_at + len..]).all(|&byte| byte == 0), "{len} bytes");
            }
        }
    }

    #[test]
    fn the_fast_copy_copies() {
        copies_every_length_and_nothing_else(super::copy);
    }

    #[test]
    fn the_portable_copy_copies() {
        copies_every_length_and_nothing_else(super::portable::copy);
    }

    /// That the sanitizer sees what this crate copies: a copy of itself, which copies a byte too much.
    #[cfg(sanitized)]
    #[test]
    fn the_sanitizer_sees_a_byte_beside_a_buffer() {
        const CHILD: &str = "PPIPE_COPIES_TOO_MUCH";
        if std::env::var_os(CHILD).is_some() {
            let (from, mut to) = (vec![0_u8; 17], vec![0_u8; 16]);
            // SAFETY: it is not: there is no room for the last byte, and the sanitizer is to say so and end the process.
            unsafe { super::copy(from.as_ptr(), to.as_mut_ptr(), 17) };
            return;
        }
        let mut command = std::process::Command::new(std::env::current_exe().expect("our own program"));
        command.args(["the_sanitizer_sees_a_byte_beside_a_buffer", "--nocapture"]).env(CHILD, "1");
        let output = command.output().expect("a child");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains("heap-buffer-overflow"), "{text}");
    }
}
