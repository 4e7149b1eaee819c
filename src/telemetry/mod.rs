//! Telemetry: metrics for Prometheus and log lines for operators. Neither can hold a key.

mod families;
mod labels;
mod line;
pub mod log;
mod metrics;

pub use labels::{ClientRefusal, RequestOutcome, StatusClass};
pub use metrics::{ClientMetrics, ClientSeries, Metrics, Snapshot};
