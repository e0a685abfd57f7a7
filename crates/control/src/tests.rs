//! Tests of the use cases over the real embedded store.
