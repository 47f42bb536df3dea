//! What server and router say to each other.
