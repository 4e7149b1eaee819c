//! What is settled in the windows of one day, kept up to date: a month has up to thirty-one days to add up, and each request
//! asks three times.

use crate::clock::Day;

use super::{PurseFigures, Usd, Window};

/// What is settled in each window that holds a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sums {
    today: Day,
    /// The first day of each, and what is settled from then on.
    windows: [(Day, Usd); Window::ALL.len()],
}

impl Sums {
    pub(super) fn new(figures: &PurseFigures, today: Day) -> Self {
        let sum = |window: Window| (window.first_day(today), figures.settled(window, today));
        Self { today, windows: Window::ALL.map(sum) }
    }

    pub(super) fn are_of(&self, today: Day) -> bool {
        self.today == today
    }

    pub(super) fn of(&self, window: Window) -> Usd {
        let [day, week, month, total] = self.windows;
        match window {
            Window::Day => day.1,
            Window::Week => week.1,
            Window::Month => month.1,
            Window::Total => total.1,
        }
    }

    /// Of every window, in the order of [`Window::ALL`].
    pub(super) fn each(&self) -> impl Iterator<Item = Usd> {
        self.windows.iter().map(|(_, sum)| *sum)
    }

    /// So much more is settled, on `day`.
    pub(super) fn add(&mut self, cost: Usd, day: Day) {
        for (first, sum) in &mut self.windows {
            if day >= *first {
                *sum = sum.saturating_add(cost);
            }
        }
    }

    /// Whether adding up from the start comes to the same.
    pub(super) fn are_sums_of(&self, figures: &PurseFigures) -> bool {
        *self == Self::new(figures, self.today)
    }
}

impl PurseFigures {
    /// Settled in the window that holds `today`, and on days after it.
    pub(super) fn settled(&self, window: Window, today: Day) -> Usd {
        match window {
            Window::Total => self.total,
            _ => self.days.range(window.first_day(today)..).fold(Usd::ZERO, |sum, (_, day)| sum.saturating_add(*day)),
        }
    }
}
