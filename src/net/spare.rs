//! Buffers between two uses: a connection that waits keeps none, and one that speaks again takes one of these.
//!
//! Without them thousands of idle connections would each hold what their last answer needed, or each command would grow
//! a buffer from nothing. One stock for each shard.

use std::cell::RefCell;

/// Buffers kept; one more is freed.
const SPARES_MAX: usize = 64;
/// Capacity of a buffer that is kept, octets. A larger one is freed.
const SPARE_BYTES_MAX: usize = 8 << 10;

thread_local! {
    static SPARES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer; one that was used before, if there is one.
pub(super) fn take() -> Vec<u8> {
    SPARES.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Gives a buffer back. What is in it is forgotten.
pub(super) fn give(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > SPARE_BYTES_MAX {
        return;
    }
    buffer.clear();
    SPARES.with_borrow_mut(|spares| {
        if spares.len() < SPARES_MAX {
            spares.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_a_large_one_is_freed() {
        give(Vec::with_capacity(SPARE_BYTES_MAX + 1));
        assert_eq!(take().capacity(), 0);
        give(b"what one client was told".to_vec());
        let again = take();
        assert!(again.is_empty() && again.capacity() > 0);
    }

    #[test]
    fn the_stock_is_bounded() {
        (0..2 * SPARES_MAX).for_each(|_| give(Vec::with_capacity(1)));
        assert_eq!(SPARES.with_borrow(Vec::len), SPARES_MAX);
    }
}
