//! An image as the archive that `load` takes. Layers that the engine has are named but left out.
//! It holds both `manifest.json` and `index.json`: an engine with the containerd store finds
//! left-out layers only in an OCI layout, and Docker 20.10 does not read one.

use super::Labels;
use crate::clock::Timestamp;
use crate::error::{Context, Result};
use crate::limits;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use tokio_util::io::ReaderStream;

/// One layer of an image.
#[derive(Debug, Clone)]
pub struct ImageLayer {
    /// `sha256:…` of the uncompressed tar.
    pub diff_id: String,
    /// Bytes of the tar; 0 where it is not known, which only matters for layers that are sent.
    pub bytes: u64,
    /// The tar; none for a layer that the engine has.
    pub file: Option<PathBuf>,
}

/// What an image is, besides its layers.
#[derive(Debug, Clone)]
pub struct ImageConfig {
    /// `senryu/slug:…`
    pub reference: String,
    pub labels: Labels,
    pub user: String,
    pub working_dir: String,
    pub env: Vec<String>,
    pub created_at: Timestamp,
}

/// The archive, to be given to [`super::Engine::load`].
pub fn archive(config: &ImageConfig, layers: &[ImageLayer]) -> Result<BoxStream<'static, Bytes>> {
    let opening = stream::once(std::future::ready(opening()?));
    Ok(opening.chain(rest(config, layers)?).boxed())
}

/// What every archive begins with.
pub fn opening() -> Result<Bytes> {
    let mut opening = Vec::new();
    write_file(&mut opening, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
        .context("write an image's archive")?;
    Ok(opening.into())
}

/// What follows.
pub fn rest(config: &ImageConfig, layers: &[ImageLayer]) -> Result<BoxStream<'static, Bytes>> {
    let head = head(config, layers).context("write an image's archive")?;
    let mut parts: Vec<BoxStream<'static, Bytes>> = vec![one(head)];
    for layer in layers {
        let Some(file) = &layer.file else { continue };
        let mut start = Vec::new();
        let name = blob(&layer.diff_id);
        write_header(&mut start, &name, layer.bytes).context("write an image's archive")?;
        let padding = layer.bytes.next_multiple_of(512) - layer.bytes;
        let padding = vec![0; usize::try_from(padding).unwrap_or(0)];
        parts.extend([one(start), content(file.clone()), one(padding)]);
    }
    // The end of a tar: two empty blocks.
    parts.push(one(vec![0; 1024]));
    Ok(stream::iter(parts).flatten().boxed())
}

fn one(bytes: Vec<u8>) -> BoxStream<'static, Bytes> {
    stream::once(async move { Bytes::from(bytes) }).boxed()
}

/// A file's bytes. One that can't be read ends the stream early, and the engine refuses the
/// archive as cut short.
fn content(path: PathBuf) -> BoxStream<'static, Bytes> {
    stream::once(async move {
        let pieces = match tokio::fs::File::open(&path).await {
            Ok(file) => ReaderStream::with_capacity(file, limits::LAYER_PIECE_BYTES).boxed(),
            Err(error) => stream::once(std::future::ready(Err(error))).boxed(),
        };
        let noted = |piece: &io::Result<Bytes>| {
            if let Err(error) = piece {
                tracing::error!(%error, "a layer's file could not be read");
            }
        };
        pieces
            .inspect(noted)
            .take_while(|piece| std::future::ready(piece.is_ok()))
            .filter_map(|piece| std::future::ready(piece.ok()))
    })
    .flatten()
    .boxed()
}

fn head(config: &ImageConfig, layers: &[ImageLayer]) -> io::Result<Vec<u8>> {
    let image = image_config(config, layers).to_string().into_bytes();
    let image_digest = digest(&image);
    let manifest = oci_manifest(&image_digest, image.len(), layers).to_string().into_bytes();
    let manifest_digest = digest(&manifest);
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": manifest_digest,
            "size": manifest.len(),
            "platform": {"architecture": architecture(), "os": "linux"},
            "annotations": {
                "io.containerd.image.name": format!("docker.io/{}", config.reference),
                "org.opencontainers.image.ref.name": tag(&config.reference),
            },
        }],
    });
    let legacy = json!([{
        "Config": blob(&image_digest),
        "RepoTags": [config.reference],
        "Layers": layers.iter().map(|layer| blob(&layer.diff_id)).collect::<Vec<_>>(),
    }]);
    let mut head = Vec::new();
    for (name, content) in [
        (blob(&image_digest), image),
        (blob(&manifest_digest), manifest),
        ("index.json".to_string(), index.to_string().into_bytes()),
        ("manifest.json".to_string(), legacy.to_string().into_bytes()),
    ] {
        write_file(&mut head, &name, &content)?;
    }
    Ok(head)
}

fn write_file(to: &mut Vec<u8>, name: &str, content: &[u8]) -> io::Result<()> {
    write_header(to, name, content.len() as u64)?;
    to.extend_from_slice(content);
    to.resize(to.len().next_multiple_of(512), 0);
    Ok(())
}

fn image_config(config: &ImageConfig, layers: &[ImageLayer]) -> Value {
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    json!({
        "architecture": architecture(),
        "os": "linux",
        "created": config.created_at.api(),
        "config": {
            "User": config.user,
            "WorkingDir": config.working_dir,
            "Env": config.env,
            "Labels": config.labels,
        },
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": diff_ids
            .iter()
            .map(|_| json!({"created": config.created_at.api(), "created_by": "senryu"}))
            .collect::<Vec<_>>(),
    })
}

fn oci_manifest(image_digest: &str, image_bytes: usize, layers: &[ImageLayer]) -> Value {
    let layers = layers.iter().map(|layer| {
        json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": layer.diff_id,
            "size": layer.bytes,
        })
    });
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": image_digest,
            "size": image_bytes,
        },
        "layers": layers.collect::<Vec<_>>(),
    })
}

fn write_header(to: &mut Vec<u8>, name: &str, bytes: u64) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(Path::new(name))?;
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(bytes);
    header.set_mtime(0);
    header.set_cksum();
    to.extend_from_slice(header.as_bytes());
    Ok(())
}

fn blob(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn tag(reference: &str) -> &str {
    reference.rsplit_once(':').map_or(reference, |(_, tag)| tag)
}

/// Go's name of this machine's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::io::Read;

    #[tokio::test]
    async fn names_every_layer_and_holds_only_the_given_ones() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("layer");
        std::fs::write(&file, b"content").unwrap();
        let [base, ours] = ["sha256:aa", "sha256:bb"].map(str::to_string);
        let layers = [
            ImageLayer { diff_id: base, bytes: 0, file: None },
            ImageLayer { diff_id: ours, bytes: 7, file: Some(file) },
        ];
        let config = ImageConfig {
            reference: "senryu/slug:1".to_string(),
            labels: Labels::from([("senryu.kind".to_string(), "slug".to_string())]),
            user: "1000:1000".to_string(),
            working_dir: "/app".to_string(),
            env: vec!["LANG=C.UTF-8".to_string()],
            created_at: Timestamp(0),
        };
        let stream = archive(&config, &layers).unwrap();
        let bytes: Vec<Bytes> = stream.collect().await;
        let bytes = bytes.concat();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut files = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(entry.path().unwrap().to_str().unwrap().to_string(), content);
        }
        assert_eq!(files["blobs/sha256/bb"], b"content");
        assert!(!files.contains_key("blobs/sha256/aa"));
        let legacy: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        assert_eq!(legacy[0]["Layers"], json!(["blobs/sha256/aa", "blobs/sha256/bb"]));
        let image = files[legacy[0]["Config"].as_str().unwrap()].clone();
        assert_eq!(blob(&digest(&image)), legacy[0]["Config"]);
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let manifest = blob(index["manifests"][0]["digest"].as_str().unwrap());
        let manifest: Value = serde_json::from_slice(&files[&manifest]).unwrap();
        assert_eq!(manifest["layers"][1]["digest"], "sha256:bb");
    }
}
