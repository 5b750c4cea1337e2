//! The gang experiment: the pods of a Job start together and look up names at the same time; when one of them
//! fails, all are restarted. The arms of the experiment run one after the other: unchanged pods, and pods
//! with a remedy.
//!
//! ```text
//!   arm        the arms of the experiment
//!   names      names to look up -> a world that contains them; pure
//!   run        one arm: a separate cluster, all pods, a start signal, restarts after a failure -> figures
//!   figures    the results of an arm, and their table
//!   law        figures -> regressions compared with pods that are not injected; pure
//!   charts     figures -> the plots
//!   cluster    the same arms on a real cluster
//! ```

pub mod arm;
pub mod charts;
pub mod cluster;
pub mod figures;
pub mod law;
pub mod names;
pub mod run;
