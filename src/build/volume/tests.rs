//! Volumes over the real tools, as root.

use super::image::is_clean;
use super::*;
use nix::mount::{MntFlags, umount2};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

/// Unmounts what a failing test leaves.
struct Cleanup(PathBuf);

impl Drop for Cleanup {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let _ = umount2(&entry.path(), MntFlags::MNT_DETACH);
        }
    }
}

fn volumes() -> (tempfile::TempDir, Cleanup, Volumes) {
    let data = tempfile::tempdir().unwrap();
    let volumes = Volumes::new(data.path(), 1 << 33);
    let cleanup = Cleanup(data.path().join("mounts"));
    (data, cleanup, volumes)
}

#[tokio::test]
async fn a_build_finds_its_cache_and_nothing_else_of_the_last_one() {
    let (_data, _cleanup, volumes) = volumes();
    let app = AppId::random();
    volumes.recover(&[app]).await.unwrap();
    let mut volume = volumes.acquire(app).await.unwrap();
    volume.begin();
    fs::write(volume.build().join("old"), "x").unwrap();
    fs::write(volume.cache().join("kept"), "x").unwrap();
    volume.release();
    let volume = volumes.acquire(app).await.unwrap();
    assert!(!volume.build().join("old").exists());
    assert!(volume.cache().join("kept").exists());
    assert_eq!(fs::metadata(volume.build()).unwrap().uid(), USER);
    assert_eq!(fs::metadata(volume.path(WORK)).unwrap().uid(), 0);
    drop(volume);
    volumes.forget(app).await.unwrap();
    assert_eq!(fs::read_dir(&volumes.images).unwrap().count(), 0);
    assert_eq!(fs::read_dir(&volumes.mounts).unwrap().count(), 0);
}

#[tokio::test]
async fn a_new_server_takes_over_mounts_and_drops_what_belongs_to_nobody() {
    let (data, _cleanup, first) = volumes();
    let (known, gone) = (AppId::random(), AppId::random());
    first.recover(&[]).await.unwrap();
    for app in [known, gone] {
        let mut volume = first.acquire(app).await.unwrap();
        volume.begin();
        fs::write(volume.build().join("half"), "x").unwrap();
        fs::write(volume.cache().join("kept"), "x").unwrap();
    }
    let second = Volumes::new(data.path(), 1 << 33);
    second.recover(&[known]).await.unwrap();
    assert_eq!(fs::read_dir(&second.images).unwrap().count(), 1);
    let volume = second.acquire(known).await.unwrap();
    assert!(!volume.build().join("half").exists());
    assert!(volume.cache().join("kept").exists());
    drop(volume);
    second.forget(known).await.unwrap();
}

#[tokio::test]
async fn a_volume_that_was_not_unmounted_is_thrown_away() {
    let (_data, _cleanup, volumes) = volumes();
    volumes.recover(&[]).await.unwrap();
    let app = AppId::random();
    let volume = volumes.acquire(app).await.unwrap();
    fs::write(volume.cache().join("half"), "x").unwrap();
    let image = volume.image.clone();
    assert!(!is_clean(&image), "a mounted one has a journal that waits");
    drop(volume);
    volumes.close().await;
    assert!(is_clean(&image));
    // As a power cut leaves it.
    let file = File::options().read(true).write(true).open(&image).unwrap();
    let mut features = [0];
    file.read_exact_at(&mut features, 1024 + 0x60).unwrap();
    file.write_all_at(&[features[0] | 4], 1024 + 0x60).unwrap();
    let volume = volumes.acquire(app).await.unwrap();
    assert!(!volume.cache().join("half").exists());
    drop(volume);
    volumes.forget(app).await.unwrap();
}

/// Without a journal, ext4 took 10 s for these.
#[tokio::test]
async fn many_files_can_be_made_again_right_after_they_were_removed() {
    let (_data, _cleanup, volumes) = volumes();
    volumes.recover(&[]).await.unwrap();
    let app = AppId::random();
    let volume = volumes.acquire(app).await.unwrap();
    for round in 0..3 {
        let started = tokio::time::Instant::now();
        for n in 0..4000 {
            fs::write(volume.build().join(n.to_string()), "x").unwrap();
        }
        assert!(started.elapsed().as_secs() < 5, "round {round}: {:?}", started.elapsed());
        fs::remove_dir_all(volume.build()).unwrap();
        fs::create_dir(volume.build()).unwrap();
    }
    drop(volume);
    volumes.forget(app).await.unwrap();
}

#[tokio::test]
async fn a_broken_file_is_replaced() {
    let (_data, _cleanup, volumes) = volumes();
    volumes.recover(&[]).await.unwrap();
    let app = AppId::random();
    fs::write(image_path(&volumes.images, app), "no file system").unwrap();
    let volume = volumes.acquire(app).await.unwrap();
    assert!(volume.cache().is_dir() && !volume.is_full());
    volumes.close().await;
    assert!(volume.cache().is_dir(), "what is in use stays mounted");
    drop(volume);
    volumes.close().await;
    assert_eq!(fs::read_dir(&volumes.mounts).unwrap().count(), 0);
    drop(volumes.acquire(app).await.unwrap());
    volumes.forget(app).await.unwrap();
}
