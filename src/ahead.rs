//! Memory that will be read is asked for ahead: its lines come into the cache while something else is
//! done. Changes nothing and waits for nothing.

/// What a line of the cache holds, bytes.
const LINE: usize = 64;

/// Asks for the lines in which a value stands.
#[inline]
pub(crate) fn fetch<T: ?Sized>(value: &T) {
    let start = std::ptr::from_ref(value).cast::<u8>();
    for offset in (0..size_of_val(value)).step_by(LINE) {
        fetch_line(start.wrapping_add(offset));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[expect(
    unsafe_code,
    reason = "asking for a line reads nothing and never faults"
)]
fn fetch_line(place: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: x86-64 has the instruction, and it may name any place.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
}

#[cfg(not(target_arch = "x86_64"))]
fn fetch_line(_: *const u8) {}
