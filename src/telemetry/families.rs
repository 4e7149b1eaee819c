//! How metrics are made: every one is registered here, with its help text, in a registry of its own.

use std::sync::OnceLock;

use prometheus::core::Collector;
use prometheus::{
    CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// Makes metrics and registers them in one registry. Names and label sets are constants of the program, so a refusal
/// by the registry is a fault of ours and ends the start.
pub(super) struct Maker<'a>(pub(super) &'a Registry);

const FAULT: &str = "metric names, help texts and labels are legal and unique";

impl Maker<'_> {
    fn register<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let metric = made.expect(FAULT);
        self.0.register(Box::new(metric.clone())).expect(FAULT);
        metric
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help))
    }

    pub(super) fn counters(&self, name: &str, help: &str, label: &str) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), &[label]))
    }

    pub(super) fn float_counters(&self, name: &str, help: &str, label: &str) -> CounterVec {
        self.register(CounterVec::new(Opts::new(name, help), &[label]))
    }

    /// A counter for each of a closed set, all shown from the start.
    pub(super) fn row<const N: usize>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: [&str; N],
    ) -> [IntCounter; N] {
        let family = self.counters(name, help, label);
        values.map(|value| family.with_label_values(&[value]))
    }

    /// A counter for each combination of closed sets, `cells` in all, shown once it has happened.
    pub(super) fn grid(&self, name: &str, help: &str, labels: &[&str], cells: usize) -> Grid {
        let family = self.register(IntCounterVec::new(Opts::new(name, help), labels));
        Grid { family, cells: (0..cells).map(|_| OnceLock::new()).collect() }
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help))
    }

    pub(super) fn float_gauge(&self, name: &str, help: &str) -> Gauge {
        self.register(Gauge::new(name, help))
    }

    pub(super) fn float_gauges(&self, name: &str, help: &str, label: &str) -> GaugeVec {
        self.register(GaugeVec::new(Opts::new(name, help), &[label]))
    }

    pub(super) fn gauges(&self, name: &str, help: &str, label: &str) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), &[label]))
    }

    pub(super) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
    }
}

/// The counters of a family over closed sets, each found once: later increments look no label up.
#[derive(Debug)]
pub(super) struct Grid {
    pub(super) family: IntCounterVec,
    cells: Box<[OnceLock<IntCounter>]>,
}

impl Grid {
    /// Show `cell`, whose labels are `labels`, before anything has happened there.
    pub(super) fn show(&self, cell: usize, labels: &[&str]) {
        if let Some(found) = self.cells.get(cell) {
            found.get_or_init(|| self.family.with_label_values(labels));
        }
    }

    /// Count one at `cell`, whose labels are `labels`.
    pub(super) fn count(&self, cell: usize, labels: &[&str]) {
        match self.cells.get(cell) {
            Some(found) => found.get_or_init(|| self.family.with_label_values(labels)).inc(),
            None => debug_assert!(false, "a label outside its closed set"),
        }
    }
}
