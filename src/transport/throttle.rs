//! Slows a body down to the rate of its bucket. The frame that waits is held here, and not the
//! reading of it: so a wait is never mistaken for a peer that stopped, and even small bodies count.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::SizeHint;
use tokio::time::{Sleep, sleep_until};

use super::rate_bucket::{RateBucket, RateReservation};

/// A throttle of one body. It holds at most one frame of it.
#[derive(Debug)]
pub(crate) struct BodyThrottle {
    bucket: Arc<RateBucket>,
    /// The part of the frame that has not been passed on.
    rest: Bytes,
    /// The reservation for the next piece of it.
    reservation: Option<RateReservation>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl BodyThrottle {
    /// Creates a throttle for a body that shares this bucket with others.
    #[must_use]
    pub(crate) fn new(bucket: Arc<RateBucket>) -> Self {
        Self { bucket, rest: Bytes::new(), reservation: None, timer: None }
    }

    /// Holds a frame. The previous one must have been passed on.
    pub(crate) fn hold(&mut self, data: Bytes) {
        self.rest = data;
    }

    /// Returns the size of the rest of a body: what is held, and what is still `unread`.
    #[must_use]
    pub(crate) fn with_held(&self, unread: &SizeHint) -> SizeHint {
        let held = self.rest.len() as u64;
        let mut all = SizeHint::new();
        all.set_lower(unread.lower().saturating_add(held));
        if let Some(upper) = unread.upper() {
            all.set_upper(upper.saturating_add(held));
        }
        all
    }

    /// Returns whether a frame is held.
    #[must_use]
    pub(crate) fn is_holding(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Waits for the time of the next piece of the frame, and returns it. Bodies that share a
    /// bucket get their pieces in turn.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        let piece_max = (self.bucket.per_second() / PIECES_PER_SECOND).max(PIECE_MIN);
        let size = self.rest.len().min(usize::try_from(piece_max).unwrap_or(usize::MAX));
        if self.reservation.is_none() {
            self.reservation = self.bucket.reserve(size as u64);
        }
        if let Some(reservation) = &self.reservation {
            let starts_at = reservation.starts_at();
            if starts_at > tokio::time::Instant::now() {
                let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(starts_at)));
                if timer.deadline() != starts_at {
                    timer.as_mut().reset(starts_at);
                }
                ready!(timer.as_mut().poll(cx));
            }
        }
        self.reservation = None;
        Poll::Ready(self.rest.split_to(size))
    }
}

/// A frame is passed on in pieces of at most this fraction of the bytes per second, so that no peer
/// sees a long silence.
const PIECES_PER_SECOND: u64 = 8;
/// The least size of a piece, except for the last one of a frame.
const PIECE_MIN: u64 = 1024;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::num::NonZeroU64;
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use tokio::time::Instant;

    use super::{BodyThrottle, RateBucket};

    const KIB: usize = 1024;

    fn bucket(per_second: u64) -> Arc<RateBucket> {
        Arc::new(RateBucket::new(NonZeroU64::new(per_second).expect("a rate")))
    }

    /// Passes `frames` frames of 16 KiB on, and returns the time when all have passed.
    async fn pass(bucket: &Arc<RateBucket>, frames: usize) -> Duration {
        let begun = Instant::now();
        let mut throttle = BodyThrottle::new(Arc::clone(bucket));
        for _ in 0..frames {
            throttle.hold(Bytes::from(vec![b'x'; 16 * KIB]));
            let mut passed = 0;
            while throttle.is_holding() {
                passed += poll_fn(|cx| throttle.poll_piece(cx)).await.len();
            }
            assert_eq!(passed, 16 * KIB);
        }
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_passed_on_at_the_rate() {
        let took = pass(&bucket(64 << 10), 20).await;
        assert!((4_600..5_000).contains(&took.as_millis()), "320 KiB in {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_of_one_bucket_share_its_rate_equally() {
        let bucket = bucket(64 << 10);
        let (one, other) = tokio::join!(pass(&bucket, 10), pass(&bucket, 10));
        assert!((4_000..5_000).contains(&one.as_millis()), "{one:?}");
        assert!((4_300..5_000).contains(&other.as_millis()), "{other:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn frames_that_wait_are_given_back_with_their_body() {
        let bucket = bucket(64 << 10);
        pass(&bucket, 4).await;
        for _ in 0..100 {
            let mut throttle = BodyThrottle::new(Arc::clone(&bucket));
            throttle.hold(Bytes::from(vec![b'x'; 16 * KIB]));
            let polled = poll_fn(|cx| std::task::Poll::Ready(throttle.poll_piece(cx).is_ready())).await;
            assert!(!polled, "the bucket is used up");
        }
        let took = pass(&bucket, 4).await;
        assert!(took < Duration::from_millis(1_100), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_is_passed_on_in_small_pieces() {
        let mut throttle = BodyThrottle::new(bucket(2 << 10));
        throttle.hold(Bytes::from(vec![b'x'; 16 * KIB]));
        let mut last = Instant::now();
        while throttle.is_holding() {
            let piece = poll_fn(|cx| throttle.poll_piece(cx)).await;
            assert!(piece.len() <= KIB, "{} bytes", piece.len());
            let now = Instant::now();
            assert!(now - last <= Duration::from_millis(600), "{:?}", now - last);
            last = now;
        }
    }
}
