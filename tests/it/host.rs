//! What happens to a host behind the platform's back, as far as it can be done to one
//! installation alone: the declared state comes back, and the log says what was found.
//! `scripts/soak --host-events` does the rest to a Docker of its own.

use crate::support::{App, Platform, docker, eventually, until};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Layers that the platform keeps as files.
fn layers(platform: &Platform) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(platform.data_dir().join("slugs")).unwrap().flatten();
    let files = entries.map(|entry| entry.path()).filter(|path| path.is_file());
    files.collect()
}

fn slug_images(app: &App) -> Vec<String> {
    docker::images(&format!("senryu.app={}", app.id))
}

fn serves_again(app: &App, release: &str) -> Duration {
    let began = Instant::now();
    until(&format!("{release} serves"), Duration::from_secs(60), || {
        let reply = app.get("/");
        (reply.status == 200 && reply.header("x-release") == release).then_some(())
    });
    began.elapsed()
}

#[test]
fn a_slug_whose_image_was_pruned_comes_back_from_its_files() {
    let platform = Arc::new(Platform::start());
    let app = platform.app_from("tiny");
    let first = layers(&platform);
    assert!(!first.is_empty());
    app.write("changed.txt", "one more file");
    app.commit("second");
    app.push().succeeded().says("Released v4");
    // Only what has changed is kept again.
    assert_eq!(layers(&platform).len(), first.len() + 1);

    app.cli(&["ps:scale", "web=0"]).succeeded();
    eventually("no dyno is left", || app.dynos().is_empty());
    for image in slug_images(&app) {
        docker::docker(&["rmi", "-f", &image]).succeeded();
    }
    assert!(slug_images(&app).is_empty());
    app.cli(&["ps:scale", "web=1"]).succeeded();
    println!("serves {:?} after ps:scale", serves_again(&app, "v4"));
    app.log_says("The slug's image was missing from Docker: loaded again");
    // The older release was pruned as well.
    app.cli(&["rollback", "v3"]).succeeded();
    serves_again(&app, "v5");

    for image in slug_images(&app) {
        docker::docker(&["rmi", "-f", &image]);
    }
    app.write("changed.txt", "changed once more");
    app.commit("third");
    app.push().succeeded().says("Released v6");
    assert_eq!(app.serving(), "v6");

    app.cli(&["apps:destroy", "--confirm", &app.name]).succeeded();
    until("no layer is left", Duration::from_secs(60), || {
        layers(&platform).is_empty().then_some(())
    });
}
