//! Limits of builds beyond their own resources, which are settings.

/// So many servers begin a build again that an earlier one left: one that brings each of them down
/// must end some time.
pub const BUILD_BEGUN_AGAIN: u32 = 5;
/// Per cent of an app's build volume that what is kept between builds may take: the rest is for
/// the source and the build itself. With more it is emptied before the next build.
pub const BUILD_CACHE_PERCENT: u64 = 50;
