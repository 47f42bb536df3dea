//! What the Platform API's resources look like, field by field as Heroku's schema has them.

use crate::certs::chain::Facts;
use crate::config::ServerSettings;
use crate::dynos::Dyno;
use crate::model::{
    App, Build, Buildpack, Collaborator, Domain, Formation, Https, Permission, Release,
    ReleaseStatus, Size, Slug, SniEndpoint, User,
};
use crate::store::users::Authorization;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Ids of things that there is only one of here: stable, derived from a name.
fn fixed_id(name: &str) -> Uuid {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(name);
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

pub fn stack_id(name: &str) -> Uuid {
    fixed_id(&format!("stack {name}"))
}

/// There is only one.
pub fn region() -> Value {
    json!({ "id": fixed_id("region here"), "name": "us" })
}

/// The region by itself: this platform's host, wherever that is. Heroku's schema knows the
/// regions of its own providers only.
pub fn whole_region() -> Value {
    let mut value = region();
    value["country"] = json!("Here");
    value["created_at"] = json!("1970-01-01T00:00:00Z");
    value["description"] = json!("This platform's host");
    value["locale"] = json!("Here");
    value["private_capable"] = json!(false);
    value["provider"] = json!({ "name": "senryu", "region": "us-east-1" });
    value["updated_at"] = value["created_at"].clone();
    value
}

/// A stack by itself. It has no date: it is as old as the program.
pub fn whole_stack(name: &str) -> Value {
    let mut value = stack(name);
    value["created_at"] = json!("1970-01-01T00:00:00Z");
    value["default"] = json!(name == crate::limits::STACK);
    value["state"] = json!("public");
    value["updated_at"] = value["created_at"].clone();
    value
}

fn stack(name: &str) -> Value {
    json!({ "id": stack_id(name), "name": name })
}

pub fn app(app: &App, settings: &ServerSettings) -> Value {
    let name = app.name.as_str();
    json!({
        "acm": app.acm,
        "archived_at": null,
        "buildpack_provided_description": app.buildpack_provided_description,
        "build_stack": stack(&app.stack),
        "created_at": app.created_at.api(),
        "generation": { "id": fixed_id("generation cedar"), "name": "cedar" },
        "git_url": format!("{}/{name}.git", settings.control_url()),
        "https": https(app.https),
        "id": app.id.0,
        "internal_routing": false,
        "maintenance": app.maintenance,
        "name": name,
        "organization": null,
        "owner": { "email": app.owner_email, "id": app.owner.0 },
        "region": region(),
        "released_at": app.released_at.map(|at| at.api()),
        "repo_size": app.repo_size,
        "slug_size": app.slug_size,
        "space": null,
        "stack": stack(&app.stack),
        "team": null,
        "updated_at": app.updated_at.api(),
        "web_url": settings.web_url(name),
    })
}

/// Ours, beside Heroku's fields.
pub fn https(https: Https) -> Value {
    json!({ "hsts": https.hsts, "redirect": https.redirect })
}

pub fn account(user: &User, has_second_factor: bool) -> Value {
    json!({
        "allow_tracking": false,
        "beta": false,
        "country_of_residence": null,
        "created_at": user.created_at.api(),
        "default_organization": null,
        "default_team": null,
        "delinquent_at": null,
        "email": user.email,
        "federated": false,
        "id": user.id.0,
        "identity_provider": null,
        "last_login": null,
        "name": null,
        "sms_number": null,
        "suspended_at": null,
        "two_factor_authentication": has_second_factor,
        "updated_at": user.updated_at.api(),
        "verified": true,
    })
}

/// One of the platform's people, as admins see them.
pub fn user(user: &User, has_second_factor: bool) -> Value {
    json!({
        "admin": user.admin,
        "created_at": user.created_at.api(),
        "email": user.email,
        "id": user.id.0,
        "two_factor_authentication": has_second_factor,
        "updated_at": user.updated_at.api(),
    })
}

pub fn permission(permission: Permission) -> Value {
    json!({ "name": permission.as_str(), "description": permission.description() })
}

pub fn collaborator(row: &Collaborator, app: &App) -> Value {
    json!({
        "app": app_ref(app),
        "created_at": row.created_at.api(),
        "id": row.id.0,
        "permissions": row.permissions.iter().map(permission).collect::<Vec<_>>(),
        "role": if row.is_owner { "owner" } else { "collaborator" },
        "updated_at": row.updated_at.api(),
        "user": { "email": row.email, "federated": false, "id": row.user.0 },
    })
}

/// `token` is there only when it is made, and for whoever comes with it. `used_at` is ours.
pub fn authorization(row: &Authorization, token: Option<&str>, expires_in: Option<i64>) -> Value {
    json!({
        "access_token": {
            "expires_in": expires_in,
            "id": row.id,
            "token": token.unwrap_or("HRKU-**********"),
        },
        "client": null,
        "created_at": row.created_at.api(),
        "description": row.description,
        "grant": null,
        "id": row.id,
        "refresh_token": null,
        "scope": ["global"],
        "session": null,
        "updated_at": row.created_at.api(),
        "used_at": row.used_at.map(|at| at.api()),
        "user": { "email": row.user.email, "full_name": null, "id": row.user.id.0 },
    })
}

fn app_ref(app: &App) -> Value {
    json!({ "id": app.id.0, "name": app.name.as_str() })
}

/// The name that every app has by itself.
pub fn own_domain(app: &App, settings: &ServerSettings) -> Value {
    json!({
        "acm_status": null,
        "acm_status_reason": null,
        "app": app_ref(app),
        "cname": null,
        "created_at": app.created_at.api(),
        "hostname": settings.app_host(app.name.as_str()),
        "id": fixed_id(&format!("domain of {}", app.id)),
        "kind": "heroku",
        "sni_endpoint": null,
        "status": "none",
        "updated_at": app.updated_at.api(),
    })
}

/// The DNS target is the app's own name: wherever that leads, the domain shall lead as well. It
/// stands at once, so there is no status to wait for.
pub fn domain(domain: &Domain, app: &App, settings: &ServerSettings) -> Value {
    let acm = domain.acm.as_ref();
    json!({
        "acm_status": acm.and_then(|(state, _)| state.word()),
        "acm_status_reason": acm.and_then(|(_, reason)| reason.as_deref()),
        "app": app_ref(app),
        "cname": settings.app_host(app.name.as_str()),
        "created_at": domain.created_at.api(),
        "hostname": domain.hostname.as_str(),
        "id": domain.id.0,
        "kind": "custom",
        "sni_endpoint": domain.sni_endpoint.as_ref().map(|(id, name)| {
            json!({ "id": id.0, "name": name })
        }),
        "status": "none",
        "updated_at": domain.updated_at.api(),
    })
}

pub fn sni_endpoint(row: &SniEndpoint, facts: &Facts, app: &App) -> Value {
    json!({
        "app": app_ref(app),
        "certificate_chain": row.chain,
        "created_at": row.created_at.api(),
        "display_name": null,
        "domains": row.domains.iter().map(|domain| domain.0).collect::<Vec<_>>(),
        "id": row.id.0,
        "name": row.name,
        "ssl_cert": {
            "acm": row.acm,
            "ca_signed?": facts.is_ca_signed,
            "cert_domains": facts.cert_domains,
            "expires_at": facts.expires_at.api(),
            "id": fixed_id(&format!("certificate {}", row.chain)),
            "issuer": facts.issuer,
            "self_signed?": facts.is_self_signed,
            "starts_at": facts.starts_at.api(),
            "subject": facts.subject,
        },
        "updated_at": row.updated_at.api(),
    })
}

pub fn formation(row: &Formation, app: &App, command: Option<&str>) -> Value {
    json!({
        "app": app_ref(app),
        "command": command.unwrap_or_default(),
        "created_at": row.created_at.api(),
        "dyno_size": { "id": size_id(&row.size), "name": row.size },
        "id": row.id,
        "quantity": row.quantity,
        "size": row.size,
        "type": row.process.as_str(),
        "updated_at": row.updated_at.api(),
    })
}

/// `limits` is ours: what Heroku's documentation has as text.
pub fn dyno_size(size: &Size) -> Value {
    let units = size.cpu_shares as f64 / 1024.0;
    json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "compute": size.compute,
        "cost": null,
        "dedicated": size.is_dedicated(),
        "generation": { "id": fixed_id("generation cedar"), "name": "cedar" },
        "id": size_id(size.name),
        "limits": {
            "cpu_weight": size.cpu_shares,
            "disk_bytes": size.disk_bytes,
            "memory_kill_bytes": size.memory_limit_bytes,
            "memory_quota_bytes": size.memory_bytes,
            "open_files": size.open_files,
            "processes": size.pids,
        },
        "memory": size.memory_bytes as f64 / f64::from(1 << 30),
        "name": size.name,
        "precise_dyno_units": units,
        "private_space_only": false,
    })
}

pub fn size_id(name: &str) -> Uuid {
    fixed_id(&format!("size {name}"))
}

pub fn dyno(dyno: &Dyno, app: &App) -> Value {
    let mut shown = json!({
        "app": app_ref(app),
        "attach_url": null,
        "command": dyno.command,
        "created_at": dyno.since.api(),
        "id": dyno.id,
        "name": dyno.name.to_string(),
        "release": { "id": dyno.release.0, "version": dyno.version },
        "size": dyno.size,
        "state": dyno.state.as_str(),
        "type": dyno.name.process.as_str(),
        "updated_at": dyno.since.api(),
    });
    // Ours: Heroku's dynos say no reason.
    if let Some(reason) = &dyno.reason {
        shown["reason"] = json!(reason);
    }
    shown
}

/// The address of an output; whoever has it may read it.
fn output_url(settings: &ServerSettings, id: Uuid) -> String {
    format!("{}/streams/outputs/{id}", settings.control_url())
}

pub fn release(
    release: &Release,
    app: &App,
    current: Option<i64>,
    settings: &ServerSettings,
) -> Value {
    let output = release.has_output.then(|| output_url(settings, release.id.0));
    let eligible = release.status == ReleaseStatus::Succeeded && release.slug.is_some();
    json!({
        "addon_plan_names": [],
        "app": app_ref(app),
        "artifacts": release.slug.map_or_else(Vec::new, |slug| {
            vec![json!({ "id": slug.0, "type": "slug" })]
        }),
        "created_at": release.created_at.api(),
        "current": current == Some(release.version),
        "description": release.description,
        "eligible_for_rollback": eligible,
        "id": release.id.0,
        "output_stream_url": output,
        "serving_after_ms": release.serving_millis,
        "slug": release.slug.map(|slug| json!({ "id": slug.0 })),
        "status": release.status.as_str(),
        "updated_at": release.updated_at.api(),
        "user": { "email": release.user_email, "id": release.user.0 },
        "version": release.version,
    })
}

/// Those that are known by name have Heroku's URN for an address.
fn buildpack(buildpack: &Buildpack) -> Value {
    let name = buildpack.to_string();
    let url = match buildpack {
        Buildpack::Named { .. } => format!("urn:buildpack:{name}"),
        _ => name.clone(),
    };
    json!({ "name": name, "url": url })
}

pub fn buildpack_installations(installed: &[Buildpack]) -> Value {
    let item =
        |(ordinal, installed)| json!({"ordinal": ordinal, "buildpack": buildpack(installed)});
    installed.iter().enumerate().map(item).collect()
}

pub fn build(build: &Build, app: &App, settings: &ServerSettings) -> Value {
    let buildpacks: Vec<Value> = build.buildpacks.iter().map(buildpack).collect();
    json!({
        "app": app_ref(app),
        "buildpacks": buildpacks,
        "buildpacks_ms": build.buildpack_millis,
        "created_at": build.created_at.api(),
        "generation": "cedar",
        "id": build.id.0,
        "output_stream_url": output_url(settings, build.id.0),
        "release": build.release.map(|release| json!({ "id": release.0 })),
        "slug": build.slug.map(|slug| json!({ "id": slug.0 })),
        "source_blob": {
            "checksum": build.blob.checksum,
            "url": build.blob.url,
            "version": build.commit,
            "version_description": build.blob.version_description,
        },
        "stack": build.stack,
        "status": build.status.as_str(),
        "took_ms": build.total_millis,
        "updated_at": build.updated_at.api(),
        "user": { "email": build.user_email, "id": build.user.0 },
    })
}

pub fn slug(slug: &Slug) -> Value {
    let types: Map<String, Value> = slug
        .process_types
        .iter()
        .map(|(process, command)| (process.to_string(), json!(command)))
        .collect();
    json!({
        "blob": { "method": "get", "url": "" },
        "buildpack_provided_description": slug.buildpack_provided_description,
        "checksum": null,
        "commit": slug.commit,
        "commit_description": slug.commit_description,
        "created_at": slug.created_at.api(),
        "deleted_at": slug.deleted_at.map(|at| at.api()),
        "id": slug.id.0,
        "process_types": types,
        "size": slug.size,
        "stack": stack(&slug.stack),
        "updated_at": slug.created_at.api(),
    })
}
