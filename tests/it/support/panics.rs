//! Panics inside potluck: its threads survive them, so nobody would notice.

use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Count the panics on potluck's threads from now on.
pub fn watch_panics() {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            let ours = thread.name().is_some_and(|name| name.starts_with("potluck") || name.starts_with("store"));
            PANICS.fetch_add(usize::from(ours), Ordering::SeqCst);
            usual(panic);
        }));
    });
}

/// No potluck of this process has panicked.
pub fn assert_no_panics() {
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "potluck panicked; its messages are above");
}
