//! An app is pushed again with nothing new in it, and how long both pushes took is kept in a file
//! that `scripts/test` shows at its end.

use crate::support::App;
use crate::support::command::Output;
use std::io::Write;

/// Pushes the app twice; the second push must say `unchanged`. `look` looks at the app after each,
/// given the release's name, which is `first` after the first push.
pub fn pushed_twice(app: &App, first: u32, unchanged: &str, look: impl Fn(&App, &str)) {
    let cold = app.push().succeeded().says("Verifying deploy... done.");
    look(app, &format!("v{first}"));
    app.commit("nothing new");
    let warm = app.push().succeeded().says(unchanged);
    look(app, &format!("v{}", first + 1));
    note(&cold, &warm);
}

/// Keeps what both pushes said of their times, by the name of the test.
pub fn note(cold: &Output, warm: &Output) {
    let took = |push: &Output| {
        let line = push.stderr.lines().find(|line| line.contains("Build took")).unwrap_or_default();
        line.trim_start_matches("remote:").trim().to_string()
    };
    let test = std::thread::current();
    let test = test.name().unwrap_or_default();
    let line = format!("{test}: {}; again: {}\n", took(cold), took(warm));
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/times");
    let file = std::fs::File::options().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(line.as_bytes())).unwrap();
}
