//! crdtstats-core
