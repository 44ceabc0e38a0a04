//! crdtstats-engine
