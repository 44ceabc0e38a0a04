//! crdtstats-journal
