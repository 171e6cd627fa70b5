//! The configuration: from file, environment and flags to values that the other modules take.
